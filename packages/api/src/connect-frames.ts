/** Flag of the frame that ends a stream, with the error if there was one. */
export const FLAG_END = 2;
const PREFIX_BYTES = 5;
/** Longest message that is read; the agent's chunks are thousand times smaller. */
const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;

/** One message of a Connect stream, as parsed from JSON. */
export interface Frame {
  readonly flag: number;
  readonly message: unknown;
}

/** Wraps one message for a Connect stream: flag, length (big-endian), JSON. */
export function encodeFrame(message: unknown): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(JSON.stringify(message));
  const bytes = new Uint8Array(PREFIX_BYTES + json.length);
  new DataView(bytes.buffer).setUint32(1, json.length);
  bytes.set(json, PREFIX_BYTES);
  return bytes;
}

/**
 * Takes a Connect stream apart, whatever the sizes of its chunks.
 *
 * @throws Error when a message is too long or isn't JSON. A stream that is cut ends quietly: who
 *   reads it notices the missing end frame.
 */
export async function* decodeFrames(body: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  const reader = body.getReader();
  let rest = new Uint8Array(0);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest = joined(rest, value);
      for (let size = frameBytes(rest); size <= rest.length; size = frameBytes(rest)) {
        const json = new TextDecoder().decode(rest.subarray(PREFIX_BYTES, size));
        yield { flag: rest[0] ?? 0, message: JSON.parse(json) };
        rest = rest.slice(size);
      }
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

/** Length of the frame that begins here; infinite while that can't be told. */
function frameBytes(bytes: Uint8Array): number {
  if (bytes.length < PREFIX_BYTES) return Number.POSITIVE_INFINITY;
  const size = new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
  if (size > MESSAGE_BYTES_MAX) throw new Error(`A message of ${size} bytes is too long.`);
  return PREFIX_BYTES + size;
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
