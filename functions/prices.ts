import type { PriceBook } from "@soulbox/core";

/**
 * What we charge, data only. Per vCPU-second and GiB-second as the field's list price (0.000014 and
 * 0.0000045 US dollar; the price table of the public benchmark computesdk/benchmarks, read
 * 2026-11-25), times 3,600. A paused sandbox holds memory and disk, no processor: a tenth of the
 * memory's price.
 */
export const PRICES: PriceBook = {
  id: "2026-11",
  rates: [
    {
      state: "running",
      cpuNanoUsdPerHour: 50_400_000n,
      memoryNanoUsdPerHour: 16_200_000n,
      diskNanoUsdPerHour: 0n,
    },
    {
      state: "paused",
      cpuNanoUsdPerHour: 0n,
      memoryNanoUsdPerHour: 1_620_000n,
      diskNanoUsdPerHour: 0n,
    },
  ],
};
