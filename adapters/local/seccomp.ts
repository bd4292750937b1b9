/**
 * The filter of system calls, as the classic BPF program that `setpriv --seccomp-filter` loads.
 * It takes away what needs no capability or reaches round the namespaces; what Docker's default
 * profile also denies (github.com/moby/profiles, seccomp/default.json, read 2026-11-25). Numbers
 * are those of Linux 6.18's `asm/unistd_64.h` and `asm-generic/unistd.h`.
 */

/** An architecture as the filter sees it. */
interface Arch {
  /** `AUDIT_ARCH_*` of `linux/audit.h`. */
  readonly audit: number;
  readonly clone: number;
  readonly socket: number;
  /** Calls that fail with EPERM. */
  readonly denied: readonly number[];
  /** Calls from this number on belong to another ABI (x32). */
  readonly foreignFrom: number | undefined;
}

/** The same numbers everywhere: new calls are given one number for all architectures. */
const DENIED_EVERYWHERE = [
  428, // open_tree
  429, // move_mount
  430, // fsopen
  431, // fsconfig
  432, // fsmount
  433, // fspick
  442, // mount_setattr
  443, // quotactl_fd
  467, // open_tree_attr
];

/**
 * These say "not implemented", so that programs fall back: clone3 hides its flags from a filter,
 * and io_uring does calls that no filter sees (setup, enter, register).
 */
const ABSENT_EVERYWHERE = [435, 425, 426, 427];

const X64: Arch = {
  audit: 0xc000003e,
  clone: 56,
  socket: 41,
  denied: [
    103, // syslog
    134, // uselib
    153, // vhangup
    155, // pivot_root
    156, // _sysctl
    159, // adjtimex
    163, // acct
    164, // settimeofday
    165, // mount
    166, // umount2
    167, // swapon
    168, // swapoff
    169, // reboot
    172, // iopl
    173, // ioperm
    174, // create_module
    175, // init_module
    176, // delete_module
    179, // quotactl
    180, // nfsservctl
    212, // lookup_dcookie
    227, // clock_settime
    246, // kexec_load
    248, // add_key
    249, // request_key
    250, // keyctl
    272, // unshare
    298, // perf_event_open
    300, // fanotify_init
    303, // name_to_handle_at
    304, // open_by_handle_at
    305, // clock_adjtime
    308, // setns
    312, // kcmp
    313, // finit_module
    320, // kexec_file_load
    321, // bpf
    323, // userfaultfd
    ...DENIED_EVERYWHERE,
  ],
  foreignFrom: 0x4000_0000,
};

const ARM64: Arch = {
  audit: 0xc00000b7,
  clone: 220,
  socket: 198,
  denied: [
    18, // lookup_dcookie
    39, // umount2
    40, // mount
    41, // pivot_root
    42, // nfsservctl
    58, // vhangup
    60, // quotactl
    89, // acct
    97, // unshare
    104, // kexec_load
    105, // init_module
    106, // delete_module
    112, // clock_settime
    116, // syslog
    142, // reboot
    170, // settimeofday
    171, // adjtimex
    217, // add_key
    218, // request_key
    219, // keyctl
    224, // swapon
    225, // swapoff
    241, // perf_event_open
    262, // fanotify_init
    264, // name_to_handle_at
    265, // open_by_handle_at
    266, // clock_adjtime
    268, // setns
    272, // kcmp
    273, // finit_module
    280, // bpf
    282, // userfaultfd
    294, // kexec_file_load
    ...DENIED_EVERYWHERE,
  ],
  foreignFrom: undefined,
};

/** Every `CLONE_NEW*` that clone takes: mount, cgroup, uts, ipc, user, pid, net. */
const CLONE_NEW = 0x7e02_0000;
/** Address families that reach past a network namespace: AF_ALG (kernel crypto) and AF_VSOCK. */
const FAMILIES = [38, 40];
const AF_NETLINK = 16;
const NETLINK_AUDIT = 9;

const EPERM = 1;
const ENOSYS = 38;
/** What a kernel without audit answers: `sudo` and PAM then go on without it. */
const EPROTONOSUPPORT = 93;
const EAFNOSUPPORT = 97;

/** Offsets in `struct seccomp_data`; arguments by their low half, both machines being little-endian. */
const NR = 0;
const ARCH = 4;
const ARG0 = 16;
const ARG2 = 32;

type Instruction = readonly [code: number, onTrue: number, onFalse: number, value: number];

const load = (offset: number): Instruction => [0x20, 0, 0, offset];
const answer = (value: number): Instruction => [0x06, 0, 0, value];
const ALLOW = answer(0x7fff_0000);
const fail = (errno: number): Instruction => answer(0x0005_0000 | errno);
/** Runs the next `skipped` instructions only when the loaded word equals `value`. */
const ifEqual = (value: number, skipped: number): Instruction => [0x15, 0, skipped, value];
const ifAtLeast = (value: number, skipped: number): Instruction => [0x35, 0, skipped, value];
const ifAnyBit = (value: number, skipped: number): Instruction => [0x45, 0, skipped, value];

/**
 * The filter for a machine, or `undefined` for one that it isn't written for.
 *
 * @param arch As in `process.arch`: `x64` or `arm64`.
 */
export function seccompFilter(arch: string): Buffer | undefined {
  if (arch === "x64") return assemble(X64);
  if (arch === "arm64") return assemble(ARM64);
  return undefined;
}

function assemble(arch: Arch): Buffer {
  const { foreignFrom, denied } = arch;
  const program: Instruction[] = [
    // 32-bit calls have other numbers: none of them is let through.
    load(ARCH),
    [0x15, 1, 0, arch.audit],
    fail(ENOSYS),
    load(NR),
    ...(foreignFrom === undefined ? [] : [ifAtLeast(foreignFrom, 1), fail(ENOSYS)]),
    ...ABSENT_EVERYWHERE.flatMap((nr) => [ifEqual(nr, 1), fail(ENOSYS)]),
    ...denied.flatMap((nr) => [ifEqual(nr, 1), fail(EPERM)]),
    ifEqual(arch.clone, 4),
    load(ARG0),
    ifAnyBit(CLONE_NEW, 1),
    fail(EPERM),
    ALLOW,
    ifEqual(arch.socket, 5 + 2 * FAMILIES.length),
    load(ARG0),
    ...FAMILIES.flatMap((family) => [ifEqual(family, 1), fail(EAFNOSUPPORT)]),
    ifEqual(AF_NETLINK, 3),
    load(ARG2),
    ifEqual(NETLINK_AUDIT, 1),
    fail(EPROTONOSUPPORT),
    ALLOW,
  ];
  const bytes = Buffer.alloc(8 * program.length);
  program.forEach(([code, onTrue, onFalse, value], index) => {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(onTrue, 8 * index + 2);
    bytes.writeUInt8(onFalse, 8 * index + 3);
    bytes.writeUInt32LE(value, 8 * index + 4);
  });
  return bytes;
}
