/**
 * The only maker of workflow ids. They are stored in clear by Temporal: UUIDs, no names, no barcodes.
 */
export const workflowIds = {
  placement: (tenantId: string, jobId: string) => `t-${tenantId}:placement:${jobId}`,
  retrieval: (tenantId: string, jobId: string) => `t-${tenantId}:retrieval:${jobId}`,
  move: (tenantId: string, jobId: string) => `t-${tenantId}:move:${jobId}`,
  robot: (tenantId: string, robotId: string) => `t-${tenantId}:robot:${robotId}`,
  inventory: (tenantId: string, comparisonId: string) => `t-${tenantId}:inventory:${comparisonId}`,
  inventories: (tenantId: string) => `t-${tenantId}:inventories`,
  rackScan: (tenantId: string, scanId: string) => `t-${tenantId}:rack-scan:${scanId}`,
  picklist: (tenantId: string, picklistId: string) => `t-${tenantId}:picklist:${picklistId}`,
  reconcile: (tenantId: string, jobId: string) => `t-${tenantId}:reconcile:${jobId}`,
  /** no workflow ever has it: answers for a job that was open when the laboratory was restored, until it is taken over */
  restored: (tenantId: string, jobId: string) => `t-${tenantId}:restored:${jobId}`,
  /** of the Temporal Schedule that looks for what is due; its runs carry their time behind it */
  due: (tenantId: string) => `t-${tenantId}:due:jobs`,
} as const;

/** Task queues, apart from the workflows that use them. */
export const CONTROL_QUEUE = 'control';
/** Served only by the process that owns the robot's wire. */
export const gatewayQueue = (robotId: string) => `gateway-${robotId}`;
/** Where a robot is looked at: a laboratory that runs its workflows on a queue of another name runs everything on it. */
export const observeQueue = (controlQueue: string, robotId: string) =>
  controlQueue === CONTROL_QUEUE ? gatewayQueue(robotId) : controlQueue;

/** Update id of the early answer: constant, so that a repeated call finds the stored one. */
export const RESERVED_UPDATE_ID = 'reserved';
