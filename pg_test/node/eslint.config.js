// What a user's project has at least: the recommended rules.
import js from "@eslint/js";
import { defineConfig } from "eslint/config";
import ts from "typescript-eslint";

export default defineConfig(js.configs.recommended, ts.configs.recommended);
