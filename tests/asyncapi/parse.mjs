// Reads an AsyncAPI document with the official parser; says how many channels it has, or what is wrong with it.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const ADVICE = new Set(["asyncapi-latest-version"]); // 3.0 is what we mean
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const wrong = diagnostics.filter((one) => !ADVICE.has(one.code));
for (const one of wrong) {
  console.log(one.severity, one.code, one.path.join("."), one.message);
}
if (document && wrong.length === 0) {
  console.log(`${document.channels().all().length} channels`);
} else {
  process.exitCode = 1;
}
