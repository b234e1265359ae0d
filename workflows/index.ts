/** Everything the workflow worker serves. */
export { compareInventories, compareInventory } from './inventory.ts';
export { moveSamples } from './move.ts';
export { runPicklist } from './picklist.ts';
export { placeSample } from './placement.ts';
export { scanRack } from './rack-scan.ts';
export { reconcileJob } from './reconcile.ts';
export { retrieveSample } from './retrieval.ts';
export { robot } from './robot.ts';
export { runDue } from './schedule.ts';
