// Whether documents are what their standards ask for. Arguments: folders with openapi.json and asyncapi.json.
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";

import { Parser } from "@asyncapi/parser";
import { BASIC } from "@hyperjump/json-schema/experimental";
import { setMetaSchemaOutputFormat, validate } from "@hyperjump/json-schema/openapi-3-2";
import { createConfig, lintFromString } from "@redocly/openapi-core";

setMetaSchemaOutputFormat(BASIC);
const found = [];

async function openapi(path) {
    const text = await readFile(path, "utf8");
    // The official meta-schema of 3.2, schemas in JSON Schema's dialect of OpenAPI included.
    const output = await validate("https://spec.openapis.org/oas/3.2/schema-base", JSON.parse(text), BASIC);
    if (!output.valid) found.push(path, JSON.stringify(output.errors, null, 1));
    // What a meta-schema cannot say: references, names that are there twice, paths. A database knows of no
    // licence, and a comment may have no prose.
    const config = await createConfig({
        extends: ["recommended"],
        rules: { "info-license": "off", "operation-summary": "off", "operation-4xx-response": "error", "no-unused-components": "off" },
    });
    const problems = await lintFromString({ source: text, absoluteRef: resolve(path), config });
    for (const { ruleId, message, location } of problems) {
        found.push(`${path}: ${ruleId}: ${message} ${location[0]?.pointer ?? ""}`);
    }
}

async function asyncapi(path) {
    const { document, diagnostics } = await new Parser().parse(await readFile(path, "utf8"));
    // Above: information.
    const problems = diagnostics.filter(({ severity }) => severity <= 1);
    found.push(...problems.map(({ code, message, path: at }) => `${path}: ${code}: ${message} ${at.join("/")}`));
    if (document === undefined) found.push(`${path}: not understood`);
}

for (const folder of process.argv.slice(2)) {
    await openapi(`${folder}/openapi.json`);
    await asyncapi(`${folder}/asyncapi.json`);
}
if (found.length > 0) {
    console.error(found.join("\n"));
    process.exit(1);
}
