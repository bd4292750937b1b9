import { isResting, launchOf } from "@soulbox/core";
import { createJournal, type Journal, request } from "./clients.ts";
import { CALM, type Weather } from "./faults.ts";
import { createRandom, type Random } from "./random.ts";
import { createTimeline } from "./timeline.ts";
import { createWatch, type Watch } from "./watch.ts";
import { createWorld, type Plane, SKEW_MS_MAX, type World } from "./world.ts";

/** What one seed led to. */
export interface Result {
  readonly seed: number;
  /** The first broken promises; empty = all held to the end. */
  readonly violations: readonly string[];
  readonly events: number;
  /** The last happenings before the end. */
  readonly history: readonly string[];
  /** Equal for equal histories. */
  readonly fingerprint: number;
}

/** Simulated time at which every history begins: 2026-01-01, Unix milliseconds. */
const START_MS = 1_767_225_600_000;
/** Quiet time in which everything must have repaired itself and expired. */
const REST_MS = 100 * 24 * 3_600_000;

/**
 * Plays one history: random requests, faults, crashes and clock jumps for `events` happenings, then
 * calm weather until every sandbox has ended. Invariants are checked after every step.
 *
 * @param historyMax Happenings to keep for the report; the fingerprint covers all.
 */
export async function simulate(seed: number, events: number, historyMax = 20): Promise<Result> {
  const random = createRandom(seed);
  const timeline = createTimeline(random, START_MS, historyMax);
  const world = createWorld(random, timeline);
  const journal = createJournal();
  const watch = createWatch(world, journal);
  world.weather = drawWeather(random);
  world.start();
  world.start();
  plan(world, journal, watch);

  const result = (violations: readonly string[]): Result => ({
    seed,
    violations,
    events: timeline.count,
    history: timeline.history,
    fingerprint: timeline.fingerprint,
  });

  let checked = -1;
  while (timeline.count < events) {
    if (!(await timeline.step())) break;
    if (world.revision() === checked && timeline.count % 16 !== 0) continue;
    checked = world.revision();
    const violations = await watch.check();
    if (violations.length > 0) return result(violations);
  }
  return result(await rest(world, watch));
}

/** Calm until everything has ended: whatever is left then would be left for ever. */
async function rest(world: World, watch: Watch): Promise<readonly string[]> {
  const { timeline } = world;
  world.weather = CALM;
  world.isOver = true;
  for (const plane of world.planes) plane.skewMs = 0;
  while (world.planes.length < 2) world.start();
  timeline.note("calm");
  watch.forgive();
  const untilMs = timeline.nowMs + REST_MS;
  while (timeline.nowMs < untilMs) {
    const waitMs = pauseUntil(world) - timeline.nowMs;
    // Nothing is under way and nothing due: the batches would only turn over empty until then.
    if (waitMs > 20_000) {
      timeline.skip(waitMs - 5000);
      watch.forgive();
    }
    if (!(await timeline.step())) break;
    if (timeline.count % 32 === 0) {
      const violations = await watch.check();
      if (violations.length > 0) return violations;
      if (isOver(world)) break;
    }
  }
  const left = world.instances().map(({ launchId }) => `I2: ${launchId} is left at the end`);
  const counters = [...(await world.store.counters()).keys()];
  const alive = [...world.store.rows.values()]
    .filter((row) => row.dueAtMs !== undefined)
    .map((row) => `I7: ${row.id} is still ${row.state} at the end`);
  return [
    ...(await watch.check()),
    ...left,
    ...alive,
    ...counters.map((name) => `I9: counter ${name} is not zero at the end`),
  ];
}

function isOver(world: World): boolean {
  if (world.instances().length > 0) return false;
  return [...world.store.rows.values()].every((row) => row.dueAtMs === undefined);
}

/** The next instant at which a row wants something; the present when something is under way. */
function pauseUntil(world: World): number {
  const { nowMs } = world.timeline;
  const phases = new Map(world.instances().map((it) => [it.launchId, it.phase]));
  let untilMs = Number.POSITIVE_INFINITY;
  for (const row of world.store.rows.values()) {
    if (row.dueAtMs === undefined) continue;
    if (!isResting(row.state) || phases.get(launchOf(row)) !== row.state) return nowMs;
    phases.delete(launchOf(row));
    untilMs = Math.min(untilMs, row.dueAtMs);
  }
  return phases.size === 0 && Number.isFinite(untilMs) ? untilMs : nowMs;
}

/** Plans requests, crashes, deaths of instances and clock jumps, each leading to the next. */
function plan(world: World, journal: Journal, watch: Watch): void {
  const { timeline, random } = world;
  const repeat = (meanMs: number, run: () => void): void => {
    timeline.at(random.integer(1, 2 * meanMs), "", undefined, () => {
      if (world.isOver) return;
      run();
      repeat(meanMs, run);
    });
  };
  const haste = random.pick([300, 1200, 4000]);
  repeat(haste, () => {
    // Races need company: now and then several ask at the same moment.
    const burst = random.chance(0.15) ? random.integer(2, 6) : 1;
    for (let count = 0; count < burst; count += 1) request(world, journal);
  });
  repeat(25_000, () => crash(world, watch));
  repeat(30_000, () => {
    const instances = world.instances();
    if (instances.length === 0) return;
    const { launchId } = random.pick(instances);
    timeline.note(`instance ${launchId} dies`);
    world.kill(launchId);
  });
  repeat(20_000, () => {
    if (world.planes.length === 0) return;
    const plane = random.pick(world.planes);
    plane.skewMs = random.integer(-SKEW_MS_MAX, SKEW_MS_MAX);
    timeline.note(`clock of ${plane.name} jumps to ${plane.skewMs}`);
  });
  repeat(40_000, () => {
    world.weather = drawWeather(random);
    timeline.note("weather changes");
  });
}

function crash(world: World, watch: Watch): void {
  const { timeline, random } = world;
  if (world.planes.length === 0) return;
  const plane: Plane = random.pick(world.planes);
  world.crash(plane);
  timeline.at(random.integer(1, 8000), "", undefined, () => {
    watch.forgive();
    world.start();
  });
}

/** A kind of weather: mostly a few kinds of fault at once, now and then none. */
function drawWeather(random: Random): Weather {
  const fault = (max: number) => (random.chance(0.5) ? random.next() * max : 0);
  if (random.chance(0.15)) return CALM;
  return {
    lost: fault(0.3),
    unanswered: fault(0.3),
    late: fault(0.4),
    repeated: fault(0.3),
    throttled: fault(0.2),
    noCapacity: fault(0.3),
    stale: fault(0.5),
    conflict: fault(0.2),
    unconfirmed: fault(0.2),
    lying: fault(0.3),
  };
}
