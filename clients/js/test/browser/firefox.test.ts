import { suite } from "./suite.js";

suite("firefox", "some");
