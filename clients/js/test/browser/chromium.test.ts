import { suite } from "./suite.js";

suite("chromium", "all");
