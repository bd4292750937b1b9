import { ensureEngine } from "../engine.ts";
import { sandboxHardening } from "./docker.hardening.ts";

sandboxHardening("docker", () => ensureEngine(console.info));
