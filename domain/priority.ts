/** How urgent work is, by name; inside it is a number, 0–100. A number between two names is called by the lower one. */
export const PRIORITIES = { SYSTEM: 100, URGENT: 80, HIGH: 50, NORMAL: 20, LOW: 0 } as const;
export type PriorityName = keyof typeof PRIORITIES;

/**
 * Waiting raises a request by one point each quarter minute: LOW goes before NORMAL that came more than five minutes later,
 * and before everything but SYSTEM that came 25 minutes later, which is before a job gives its place in the queue up.
 */
export const AGEING_MS_PER_POINT = 15_000;

/** What a priority says that may be given by name, or as a number from 0 to 100. */
export function priorityOf(given: PriorityName | number): number {
  return typeof given === 'number' ? given : PRIORITIES[given];
}

/** The name of a priority: of the highest that is not above it. */
export function priorityName(priority: number): PriorityName {
  if (priority >= PRIORITIES.SYSTEM) return 'SYSTEM';
  if (priority >= PRIORITIES.URGENT) return 'URGENT';
  if (priority >= PRIORITIES.HIGH) return 'HIGH';
  return priority >= PRIORITIES.NORMAL ? 'NORMAL' : 'LOW';
}

/** What the order of waiting requests depends on. */
export interface Urgency {
  readonly priority: number;
  /** milliseconds since the epoch */
  readonly requestedAt: number;
}

/**
 * How urgent a waiting request is at a moment: its priority, and a point for each quarter minute of waiting. SYSTEM is above
 * all others however long they wait.
 * @param now milliseconds since the epoch
 */
export function effectivePriority({ priority, requestedAt }: Urgency, now: number): number {
  if (priority >= PRIORITIES.SYSTEM) return Number.POSITIVE_INFINITY;
  return priority + (now - requestedAt) / AGEING_MS_PER_POINT;
}

/**
 * Which of two requests goes first: the one whose effective priority is higher; among SYSTEM, the older one. All requests
 * age alike, so their order stays the same however long they wait, and no clock is read: a request of priority p stands
 * where one of priority 0 stands that came p quarter minutes earlier. Whoever comes 25 minutes later never goes before,
 * SYSTEM excepted: nobody is starved.
 * @returns negative when `a` goes first, positive when `b` does, 0 when nothing tells them apart
 */
export function byUrgency(a: Urgency, b: Urgency): number {
  const [aIsSystem, bIsSystem] = [a, b].map(({ priority }) => priority >= PRIORITIES.SYSTEM);
  if (aIsSystem !== bIsSystem) return aIsSystem ? -1 : 1;
  if (aIsSystem) return a.requestedAt - b.requestedAt;
  const standing = ({ priority, requestedAt }: Urgency) => requestedAt - priority * AGEING_MS_PER_POINT;
  return standing(a) - standing(b) || b.priority - a.priority;
}
