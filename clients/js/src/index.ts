export { gapOf, SseError, type Gap, type Message, type Problem } from "./message.js";
export { Parser, read } from "./parser.js";
export { subscribe, type SubscribeOptions, type Subscription, type Token } from "./subscription.js";
export { live, type Live, type LiveOptions, type LiveState, type Snapshot } from "./live.js";
export type { Change, Key } from "./rows.js";
export {
  call, callAsync, callStream, follow, login, logout,
  type Answer, type Begun, type CallOptions, type FollowOptions, type Given, type Running, type Settled,
} from "./call.js";
export type { Kind, LiveStream, Place, Routine, Stream } from "./typed.js";
