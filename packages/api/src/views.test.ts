import { type EntryId, type LedgerEntry, launchOf, nanoUsd } from "@soulbox/core";
import { LedgerEntryView, SandboxDetailView, SandboxView, STATES } from "@soulbox/protocol";
import { describe, expect, it } from "vitest";
import { aSandbox, fakePorts, NOW_MS } from "./fakes.ts";
import { entryView, sandboxDetailView, sandboxView } from "./views.ts";

const ASKED = { origin: "http://127.0.0.1:8080", isUser: true };

describe("sandboxView", () => {
  it.each(STATES)("matches its schema and holds no secret when %s", (state) => {
    const view = sandboxView(aSandbox({ state }));

    expect(SandboxView.parse(view)).toEqual(view);
    expect(JSON.stringify(view)).not.toMatch(/s3cret|10\.0\.0\.9|native/);
  });
});

describe("sandboxDetailView", () => {
  it("reaches the agent at the origin, or by a host name of its own", () => {
    const here = sandboxDetailView(fakePorts(), aSandbox(), ASKED);
    const there = sandboxDetailView(fakePorts({ sandboxDomain: "sbx.dev" }), aSandbox(), ASKED);

    expect(SandboxDetailView.parse(here)).toEqual(here);
    expect(here.agent?.url).toBe("http://127.0.0.1:8080");
    expect(there.agent?.url).toBe("https://49983-i00000000000000000001.sbx.dev");
  });

  it("gives tokens only as far as they are needed", () => {
    const network = { ...aSandbox().spec.network, publicTraffic: false };
    const open = sandboxDetailView(fakePorts(), aSandbox({}, { secure: false, network }), ASKED);

    expect(open.agent).toMatchObject({ accessToken: null, trafficToken: expect.any(String) });
  });

  it("gives no access to readers, nor to what is ending", () => {
    const reader = sandboxDetailView(fakePorts(), aSandbox(), { ...ASKED, isUser: false });
    const ending = sandboxDetailView(fakePorts(), aSandbox({ state: "terminating" }), ASKED);

    expect([reader.agent, ending.agent]).toEqual([null, null]);
  });
});

describe("entryView", () => {
  const sandbox = aSandbox();
  const base = {
    id: `${launchOf(sandbox)}-1-close` as EntryId,
    sandboxId: sandbox.id,
    tenantId: sandbox.tenantId,
    atMs: NOW_MS,
    incarnation: 1,
    interval: 1,
  };

  it("keeps amounts that no float can hold, also negative ones", () => {
    const amount = nanoUsd(-9_007_199_254_740_993n);
    const entry: LedgerEntry = {
      ...base,
      kind: "adjust",
      amount,
      why: "refund",
      corrects: base.id,
    };

    const view = entryView(entry);

    expect(view.amountNanoUsd).toBe("-9007199254740993");
    expect(LedgerEntryView.parse(view)).toEqual(view);
    expect(view).not.toHaveProperty("tenantId");
  });
});
