#!/usr/bin/env node
// Stands in for the agent: answers where it is told to listen, and runs what a test asks for.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const path = process.env.SOULBOX_LISTEN.replace(/^unix:/, "");

/** Runs `{argv, user}` and answers `{code, signal, output}`. */
function run(body, response) {
  const { argv, user } = JSON.parse(body);
  const [file, ...args] = argv;
  const passwd = readFileSync("/etc/passwd", "utf8").split("\n");
  const uid = Number(passwd.find((line) => line.startsWith(`${user}:`)).split(":")[2]);
  const ids = uid === 0 ? {} : { uid, gid: uid };
  const child = spawn(file, args, { ...ids, cwd: "/", stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  child.on("error", (error) => response.end(JSON.stringify({ code: -1, output: String(error) })));
  child.on("close", (code, signal) => response.end(JSON.stringify({ code, signal, output })));
}

createServer((request, response) => {
  let body = "";
  request.on("data", (chunk) => (body += chunk));
  request.on("end", () => {
    if (request.url === "/run") run(body, response);
    else if (request.url === "/identity") response.end(readFileSync("/proc/self/stat", "utf8"));
    else response.writeHead(204).end();
  });
}).listen(path);
