import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { resolveTemplate, TEMPLATES } from "./catalogue.ts";

/** What `call` threw. */
function thrownBy(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

describe("resolveTemplate", () => {
  it.each([
    ["base", "base"],
    ["python", "python"],
    ["python:3", "python"],
    ["python:3.13", "python"],
    ["node", "node-24"],
    ["node-24", "node-24"],
    ["node:18", "node-18"],
    ["node:26", "node-26"],
    ["rust:1.85", "rust"],
    ["go:1.24", "go"],
  ])("takes %s for %s", (name, id) => {
    expect(resolveTemplate(name).id).toBe(id);
  });

  it.each([
    ["python:3.9", "python 3.9 can't be had here; python comes as 3.13"],
    ["node:17", "node 17 can't be had here; node comes as 18, 20, 22, 24, 26"],
    ["go:", "go  can't be had here; go comes as 1.24"],
  ])("refuses %s and names what there is", (name, detail) => {
    expect(thrownBy(() => resolveTemplate(name))).toMatchObject({ code: "unsupported", detail });
  });

  it.each(["", "ruby", "ruby:3", "base:1", ":", "constructor", "Python", "python:3.13 "])(
    "does not take %j for a template",
    (name) => {
      const error = thrownBy(() => resolveTemplate(name));

      expect(error).toMatchObject({ code: expect.stringMatching(/not_found|unsupported/) });
    },
  );

  it("lists the names when it knows nothing like it", () => {
    expect(thrownBy(() => resolveTemplate("ruby"))).toMatchObject({
      code: "not_found",
      detail: "template 'ruby' not found",
      hint: expect.stringContaining("base, python, python:3, python:3.13, node:18"),
    });
  });

  it("repeats only the beginning of a long name", () => {
    for (const name of ["x".repeat(5000), `node:${"9".repeat(5000)}`]) {
      expect(String(thrownBy(() => resolveTemplate(name))).length).toBeLessThan(300);
    }
  });
});

describe("catalogue", () => {
  it("gives each name and id to one template", () => {
    const words = TEMPLATES.flatMap(({ id, names }) => [...new Set([id, ...names])]);

    expect(new Set(words).size).toBe(words.length);
  });

  it.each(TEMPLATES)("has a Dockerfile for $id that uses its arguments", ({ folder, args }) => {
    const dockerfile = readFileSync(join(import.meta.dirname, folder, "Dockerfile"), "utf8");

    for (const name of Object.keys(args)) expect(dockerfile).toContain(`ARG ${name}`);
  });
});
