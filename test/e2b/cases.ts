/** A published behaviour of E2B's clients and the test of ours that claims it. */
export interface Case {
  /** A life cycle, B commands, C files, D watch, E terminals, F git. */
  readonly tier: string;
  /** Name under which E2B publishes the behaviour. A name that occurs twice has two variants. */
  readonly behaviour: string;
  /** Our test file, relative to this folder. */
  readonly file: string;
  /** Title of our test. */
  readonly title: string;
}

/** A behaviour that no test of ours claims. */
export interface Exception {
  readonly behaviour: string;
  readonly reason: string;
}

/** Empty means: each behaviour of the six tiers is claimed. */
export const EXCEPTIONS: readonly Exception[] = [];

/** How many behaviours each tier has. Source: e2b-dev/E2B, packages/js-sdk/tests, for 2.51.0. */
export const TIER_SIZES = { A: 38, B: 22, C: 60, D: 7, E: 6, F: 25 } as const;

/**
 * A line that starts with a tier names E2B's file and ours; the lines below it name a behaviour
 * and our title.
 */
const TABLE = `
A api/info.test.ts = lifecycle/create.test.ts
  get sandbox info = tells what a sandbox is, since when and until when
A api/kill.test.ts = lifecycle/kill.test.ts
  kill existing sandbox = ends a sandbox known only by its id
  kill non-existing sandbox = says false when there is no such sandbox
A api/list.test.ts = lifecycle/list.test.ts
  list paused sandboxes = lists only the paused sandboxes (environment)
  list paused sandboxes = lists only the paused sandboxes (client)
  list running sandboxes = lists only the running sandboxes (environment)
  list running sandboxes = lists only the running sandboxes (client)
  list sandboxes = lists running and paused sandboxes, the newest first (environment)
  list sandboxes = lists running and paused sandboxes, the newest first (client)
  list sandboxes started after = lists what started at a moment or later
  list sandboxes with filter = lists the sandboxes whose metadata match every pair (environment)
  list sandboxes with filter = lists the sandboxes whose metadata match every pair (client)
  list sandboxes with order = orders by start across pages, either way
  list sandboxes with template filter = lists the sandboxes of one template
  paginate iterator = goes on from a token and refuses to go past the end (environment)
  paginate iterator = goes on from a token and refuses to go past the end (client)
  paginate paused sandboxes = pages through the paused sandboxes (environment)
  paginate paused sandboxes = pages through the paused sandboxes (client)
  paginate running and paused sandboxes = pages through running and paused sandboxes together (environment)
  paginate running and paused sandboxes = pages through running and paused sandboxes together (client)
  paginate running sandboxes = pages through the running sandboxes (environment)
  paginate running sandboxes = pages through the running sandboxes (client)
A sandbox/connect.test.ts = lifecycle/connect.test.ts
  connect = reaches the same running sandbox from its id
  connect does not shorten timeout on running sandbox = does not shorten the time of a running sandbox
  connect extends timeout on running sandbox = lengthens the time of a running sandbox
  connect resumes paused sandbox = wakes a paused sandbox with its files, processes and token
  connect to non-running sandbox = refuses a sandbox that was killed
A sandbox/create.test.ts = lifecycle/create.test.ts
  MCP gateway start failure kills the created sandbox = kills the sandbox again when its MCP gateway does not start
  create = gives a sandbox that runs commands
  metadata = keeps the metadata it was given
A sandbox/kill.test.ts = lifecycle/kill.test.ts
  kill = ends a sandbox through its own object, once
A sandbox/metrics.test.ts = lifecycle/metrics.test.ts
  sbx metrics = tells use and size of processor, memory and disk
  sbx metrics time range = keeps to the range of time that was asked for
A sandbox/secure.test.ts > secure sandbox = lifecycle/secure.test.ts
  test access file with signing = opens a file to a plain request only by a signed address
  try to re-connect to sandbox = gives its token to whoever connects with the key
A sandbox/timeout.test.ts = lifecycle/timeout.test.ts
  get sandbox timeout = shows the end that create asked for
  shorten then lengthen timeout = lets a sandbox live on when its shortened time was lengthened again
  shorten timeout = ends a sandbox when its shortened time is over
B sandbox/commands/connect.test.ts = commands/processes.test.ts
  connect to non-existing process = refuses a process that does not exist
  connect to process = follows a running process to its end
B sandbox/commands/envVars.test.ts = commands/environment.test.ts
  bash command scoped env vars = gives the variables of one command to that command alone
  python command scoped env vars = gives the variables of one command to a Python program
  sandbox global env vars > sandbox global env vars = gives the variables of a sandbox to every command
B sandbox/commands/kill.test.ts = commands/processes.test.ts
  kill non-existing process = says false when there is no such process
  kill process = kills a process and ends whoever waits for it
B sandbox/commands/list.test.ts = commands/processes.test.ts
  list processes = lists what runs, with its command, arguments and place
B sandbox/commands/run.test.ts = commands/run.test.ts
  run = gives output, errors and exit code of a command
  run with multiline string = passes a text of several lines unchanged
  run with special characters = passes special characters unchanged
  run with timeout = runs a command that ends within its time
  run with too short timeout = ends a command that takes longer than its time
  run with too short timeout iterating = delivers what a command printed before its time was over
B sandbox/commands/sandboxKilledDuringRun.test.ts = commands/run.test.ts
  killing the sandbox while a command is running throws an actionable error = says that the sandbox was killed when that cuts a command off
B sandbox/commands/sendStdin.test.ts = commands/stdin.test.ts
  close stdin via command handle = ends when it is closed through the handle
  send Uint8Array stdin to process = takes bytes that are no text
  send empty stdin to process = takes nothing and stays open
  send multiline string to stdin = takes several lines unchanged
  send special characters to stdin = takes special characters unchanged
  send stdin to process = reaches a process by its number
  send stdin via command handle = reaches a process through its handle
C sandbox/files/contentEncoding.test.ts = files/encoding.test.ts
  read file as bytes with gzip content encoding = carries bytes down packed
  write and read file with gzip content encoding = carries a file up and down packed
  write with gzip and read without encoding = stores a packed upload unpacked
  writeFiles with gzip content encoding = carries several files up packed
C sandbox/files/exists.test.ts = files/entries.test.ts
  file does not exist = says false for what is not there
  file exists = says true for a file, a directory and a link
C sandbox/files/info.test.ts = files/entries.test.ts
  get info of a directory = tells everything about a directory
  get info of a directory that does not exist = refuses a missing directory
  get info of a file = tells everything about a file
  get info of a file that does not exist = refuses a missing file
  get info of a symlink = tells where a link leads and what lies there
C sandbox/files/list.test.ts = files/directories.test.ts
  directory entry details = tells everything about a directory in it
  file entry details = tells everything about a file in it
  list directory = lists as deep as it is asked to, depth first
  list directory with invalid depth = refuses a depth below one and a path that is no directory
  mixed entries (files and directories) = tells files from directories
C sandbox/files/makeDir.test.ts = files/directories.test.ts
  make directory = makes a directory of the user
  make existing directory = says false for a directory that exists
  make nested directory = makes the directories above it
C sandbox/files/metadata.test.ts = files/metadata.test.ts
  metadata is surfaced after rename = moves with its file
  metadata is surfaced when listing = shows in a list
  metadata set via xattrs is surfaced in getInfo = is the extended attributes that programs set and see
  overwriting a file clears stale metadata = goes when the file is replaced without any
  rejects invalid metadata = is refused when a header or an attribute can't hold it
  write file with metadata = is kept from an upload and told again
  write file with metadata using octet-stream = is kept from an upload as octet stream, its keys in lower case
  write file without metadata = is absent when none was given
  writeFiles applies metadata to every file = is given to every file of one call
C sandbox/files/read.test.ts = files/read.test.ts
  read empty file in all formats = gives an empty file in every format (plain)
  read empty file in all formats = gives an empty file in every format (gzip)
  read file = gives a file as text, bytes and blob
  read file as stream = streams a long file (plain)
  read file as stream = streams a long file (gzip)
  read non-existing file = refuses a file that does not exist
  read non-existing file as stream = refuses to stream a file that does not exist (plain)
  read non-existing file as stream = refuses to stream a file that does not exist (gzip)
  read non-existing file catches with deprecated NotFoundError = lets a missing file be caught by the SDK's older class
C sandbox/files/remove.test.ts = files/entries.test.ts
  remove file = removes a file, and a directory with all it holds
  remove non-existing file = is content when there is nothing to remove
C sandbox/files/rename.test.ts = files/entries.test.ts
  rename file = moves a file and tells of it under its new name
  rename non-existing file = refuses to move what is not there
C sandbox/files/signing.test.ts > file signing = files/signing.test.ts
  test access file with expired signing = is refused once it has expired
  test access file with valid signing = lets whoever has it read the file until it expires
  test access file with valid signing as root = lets whoever has it read a file of root's
  test command run with secured sbx = does not hinder commands in the same sandbox
  test upload file with invalid signing = is refused for another file, another deed or another signature
  test upload file with valid signing = lets whoever has it write the file
  test upload file with valid signing as root user = lets whoever has it write a file of root's
C sandbox/files/write.test.ts = files/write.test.ts
  overwrite file = replaces a file and leaves nothing of the old one
  write ReadableStream with octet stream upload = takes a stream
  write ReadableStream with octet stream upload and gzip = takes a stream packed with gzip
  write file = makes a file of the default user (form)
  write file = makes a file of the default user (octet stream)
  write multiple files = takes several files in one call, in the given order
  write to non-existing directory = makes the directories on the way
  writeFiles creates parent directories = makes the directories on the way to every file
  writeFiles overwrites existing files = replaces files that exist
  writeFiles with different data types = writes text, bytes, blobs and streams together
  writeFiles with empty array = writes nothing when given nothing
  writeFiles with multiple files = writes many files and tells of each
D sandbox/files/watch.test.ts = files/watch.test.ts
  watch directory changes = tells what happens to the files in a directory
  watch directory changes with entry info = tells everything about the entry when asked to
  watch directory changes with network mounts allowed = watches a local directory when network mounts are allowed too
  watch file = refuses to watch a file
  watch non-existing directory = refuses to watch a directory that does not exist
  watch recursive directory after nested folder addition = follows a directory that appears while it watches
  watch recursive directory changes = tells of directories below when it is recursive, and of them only then
E sandbox/pty/kill.test.ts = commands/pty.test.ts
  kill PTY = ends when it is killed
  kill non-existing PTY = says false when there is no such terminal to kill
E sandbox/pty/ptyConnect.test.ts = commands/pty.test.ts
  pty connect/reconnect = goes on in the same shell after a reconnect
E sandbox/pty/ptyCreate.test.ts = commands/pty.test.ts
  create PTY = opens a login shell on a terminal with its size, variables and place
E sandbox/pty/resize.test.ts = commands/pty.test.ts
  resize = tells the shell its new size
E sandbox/pty/sendInput.test.ts = commands/pty.test.ts
  send input = takes input line by line
F sandbox/git/add.test.ts = git/commits.test.ts
  git add stages files = stages the named files, or all
F sandbox/git/branches.test.ts = git/branches.test.ts
  git branches lists current and feature = are listed, with the current one
  git checkoutBranch switches branch = are switched
  git createBranch creates and checks out branch = are checked out as soon as they are made
  git deleteBranch removes branch = are deleted
F sandbox/git/clone.test.ts = git/remotes.test.ts
  git clone fetches repo = fetches a repository with its history
F sandbox/git/commit.test.ts = git/commits.test.ts
  git commit creates commit = records what is staged, with its message and author
  git commit uses config for missing author fields = takes from the configuration what the call leaves open
F sandbox/git/config.test.ts = git/config.test.ts
  git configureUser sets global user config = holds name and address of the user for all repositories
  git getConfig reads local config = is read from one repository
  git setConfig updates local config = is set for one repository alone
F sandbox/git/dangerouslyAuthenticate.test.ts = git/config.test.ts
  git dangerouslyAuthenticate sets helper = holds credentials when that is asked for
F sandbox/git/init.test.ts = git/commits.test.ts
  git init = makes a repository on the branch that was named
F sandbox/git/remote.test.ts = git/remotes.test.ts
  git remoteAdd adds remote = are added under a name
  git remoteAdd overwrites existing remote = are replaced when that is asked for
  git remoteGet returns undefined for missing remote = are undefined when nobody added them
F sandbox/git/reset.test.ts = git/commits.test.ts
  git reset --hard discards changes = throws changes away when it is hard
F sandbox/git/restore.test.ts = git/commits.test.ts
  git restore --staged unstages changes = takes a file off the stage and keeps its content
  git restore discards working tree changes = gives a file its committed content back
F sandbox/git/status.test.ts = git/commits.test.ts
  git status reports added modified deleted renamed = shows what was added, modified, deleted and renamed
  git status reports untracked file = shows a file that git does not know
F sandbox/git/sync.test.ts = git/remotes.test.ts
  git pull updates clone = brings a clone up to date
  git pull warns when no upstream = says that a branch has nothing to pull from
  git push updates remote = carries commits to the remote
  git push warns when no upstream = says that a branch follows no remote branch
`;

/** Every behaviour of the six tiers that a test claims. */
export const CASES: readonly Case[] = parse(TABLE);

function parse(table: string): Case[] {
  const cases: Case[] = [];
  let heading = { tier: "", theirs: "", file: "" };
  for (const line of table.split("\n").filter((each) => each !== "")) {
    const [left = "", right = ""] = line.split(" = ");
    if (line.startsWith("  ")) {
      const behaviour = `${heading.theirs} > ${left.trim()}`;
      cases.push({ tier: heading.tier, behaviour, file: heading.file, title: right });
    } else {
      heading = { tier: left.slice(0, 1), theirs: left.slice(2), file: right };
    }
  }
  return cases;
}
