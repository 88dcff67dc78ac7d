import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const HERE = fileURLToPath(new URL("../..", import.meta.url));
// The package is tested in a copy; then this says where the rest of the checkout is.
const ROOT = process.env["PG_SSE_ROOT"] ?? `${HERE}/../..`;
const PAGES = [`${HERE}/README.md`, `${ROOT}/docs/javascript.md`];
/** What snippets import as `./client.ts`: the typed client of the table that they are about. */
const CLIENT = `${ROOT}/crates/client/tests/golden/tables.ts`;

it("every snippet of the documentation compiles against the package as it is built", () => {
  const folder = `${HERE}/test/snippets`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder);
  let count = 0;
  for (const page of PAGES) {
    // Only where there is nothing but the package.
    if (!existsSync(page) && !process.env["PG_SSE_ROOT"]) continue;
    for (const [, kind, code] of readFileSync(page, "utf8").matchAll(/^```(tsx?)\n(.*?)^```/gms)) {
      writeFileSync(`${folder}/${count++}.${kind}`, `${code}\nexport {};\n`);
    }
  }
  expect(count).toBeGreaterThan(5);
  if (existsSync(CLIENT)) copyFileSync(CLIENT, `${folder}/client.ts`);
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify({
    extends: "../tsconfig.json",
    compilerOptions: { allowImportingTsExtensions: true, noUnusedLocals: false, noUnusedParameters: false },
    include: ["."], exclude: [],
  }));
  try {
    execFileSync(process.execPath, [`${HERE}/node_modules/typescript/bin/tsc`, "-p", folder], { encoding: "utf8" });
  } catch (error) {
    throw new Error((error as { stdout: string }).stdout);
  }
  rmSync(folder, { recursive: true });
});
