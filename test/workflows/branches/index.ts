import type { Branches } from './branch.ts';
import { doubts } from './doubt.ts';
import { expedites } from './expedite.ts';
import { failures } from './failing.ts';
import { inventories } from './inventory.ts';
import { lostTasks } from './lost-task.ts';
import { moves } from './move.ts';
import { picklists } from './picklist.ts';
import { placementByHand, placementByRobot } from './placement.ts';
import { rackScans } from './rack-scan.ts';
import { reconciliations } from './reconcile.ts';
import { relocations } from './relocation.ts';
import { retrievals } from './retrieval.ts';
import { robots } from './robot.ts';
import { robotQueues } from './robot-queue.ts';
import { scans } from './schedule.ts';

/** Every branch of every workflow: `npm run histories` records each under its name. */
export const BRANCHES: Branches = {
  ...placementByHand,
  ...placementByRobot,
  ...doubts,
  ...retrievals,
  ...moves,
  ...relocations,
  ...inventories,
  ...rackScans,
  ...reconciliations,
  ...robots,
  ...picklists,
  ...robotQueues,
  ...expedites,
  ...failures,
  ...lostTasks,
  ...scans,
};
