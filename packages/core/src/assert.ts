/** Stops the program when something that must hold doesn't. For programming mistakes only. */
export function assert(holds: boolean, claim: string): asserts holds {
  if (!holds) throw new Error(`Assertion failed: ${claim}`);
}

/** Marks a branch that the types rule out. */
export function unreachable(value: never): never {
  throw new Error(`Unreachable: ${String(value)}`);
}
