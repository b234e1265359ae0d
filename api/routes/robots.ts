import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context } from 'hono';
import { resolveReference } from '../../db/references.ts';
import { enrolRobot, listRobots, type RobotRecord } from '../../db/robots.ts';
import { DomainError } from '../../domain/errors.ts';
import { priorityName } from '../../domain/priority.ts';
import { EnrolRobotRequest, Robot, RobotCommand, RobotList } from '../../schemas/automation.ts';
import { Id } from '../../schemas/problem.ts';
import { clearUpdate, maintenanceUpdate, pauseUpdate, resumeUpdate } from '../../workflows/messages/robot.ts';
import type { ApiEnv, AppDependencies } from '../dependencies.ts';
import { rememberReply } from '../middleware/idempotency.ts';
import { rememberAnswer } from '../processes.ts';
import { body, createRouter, IdempotencyHeader, problems, reply, secured } from '../route.ts';
import { requireStationAt } from '../stations.ts';
import { tellRobot } from '../updates.ts';
import { EXAMPLE_ID } from './examples.ts';

const ROBOT_EXAMPLE: z.input<typeof Robot> = {
  id: EXAMPLE_ID,
  name: 'Store robot 1',
  storeId: EXAMPLE_ID,
  handoffId: EXAMPLE_ID,
  driver: 'modbus',
  mode: 'auto',
  gate: 'Gate north',
  doorOpen: true,
  unitAlarm: false,
  lockedOut: false,
  resetSeenAt: '2026-03-01T17:02:10.000Z',
  faults: [
    {
      id: EXAMPLE_ID,
      kind: 'safety',
      detail: 'Store robot 1 stands in a safety hold: a door is open.',
      raisedAt: '2026-03-02T08:14:31.000Z',
    },
  ],
  dispatch: 'running',
  connected: true,
  busy: false,
  carrierOccupied: false,
  errorCode: 0,
  heldFaultId: EXAMPLE_ID,
  queue: [{ jobId: EXAMPLE_ID, priority: 50, priorityName: 'HIGH', requestedAt: '2026-03-02T08:14:58.000Z' }],
  lastContactAt: '2026-03-02T08:15:00.000Z',
};

/** Modbus TCP; the host link of KEYENCE controllers over Ethernet; the usual port of serial device servers. */
const PRESET_PORT: Record<Robot['driver'], number> = {
  modbus: 502,
  ascii: 8501,
  worklist: 4001,
};

const robotsRoute = createRoute({
  ...secured('robot.read'),
  method: 'get',
  path: '/automation/robots',
  tags: ['Automation'],
  summary: 'Robots: mode, what stops them, faults, carrier, queue, last contact',
  responses: { 200: reply(RobotList, 'Robots in service.', { robots: [ROBOT_EXAMPLE] }), ...problems() },
});

const enrolRoute = createRoute({
  ...secured('robot.enrol'),
  method: 'post',
  path: '/automation/robots',
  tags: ['Automation'],
  summary: 'Enter a robot: its store, its hand-off and its address',
  request: {
    headers: IdempotencyHeader,
    body: body(EnrolRobotRequest, {
      name: 'Store robot 1',
      store: 'STORE-1',
      handoff: 'HANDOFF-1',
      driver: 'modbus',
      host: '192.0.2.10',
      port: 502,
      unitId: 1,
    }),
  },
  responses: {
    201: reply(Robot, 'Entered.', ROBOT_EXAMPLE),
    ...problems(
      'MALFORMED_BODY',
      'NOT_FOUND',
      'BARCODE_UNKNOWN',
      'NAME_TAKEN',
      'IDEMPOTENCY_KEY_BUSY',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'IDEMPOTENCY_KEY_REUSED',
    ),
  },
});

const commandRoute = createRoute({
  ...secured('robot.command'),
  method: 'post',
  path: '/automation/robots/{id}/command',
  tags: ['Automation'],
  summary: 'Pause, resume, take for maintenance, or clear a named fault',
  description:
    'Never a motion. Resume and clear are taken only from a station enrolled at that robot: whoever lets it run sees it. Both are refused while an open door, an emergency stop, manual mode, a lock-out or the store’s alarm stands as last reported, and until the hardware reset after a stop was seen. Maintenance lets the turn under way end and hands the queue to robots that can do the work.',
  request: {
    headers: IdempotencyHeader,
    params: z.object({ id: Id.openapi({ param: { name: 'id', in: 'path' } }) }),
    body: body(RobotCommand, { command: 'pause', when: 'now', reason: 'Shelf 3 is being cleaned.' }),
  },
  responses: {
    200: reply(Robot, 'Done; the robot as it is now.', ROBOT_EXAMPLE),
    ...problems(
      'MALFORMED_BODY',
      'STATION_REQUIRED',
      'NOT_FOUND',
      'ROBOT_UNAVAILABLE',
      'STALE_ANSWER',
      'CONFLICT',
      'IDEMPOTENCY_KEY_BUSY',
      'BODY_TOO_LARGE',
      'UNSUPPORTED_MEDIA_TYPE',
      'VALIDATION',
      'IDEMPOTENCY_KEY_REUSED',
      'WORKFLOWS_UNAVAILABLE',
    ),
  },
});

export function robotRoutes({ db }: AppDependencies): OpenAPIHono<ApiEnv> {
  const routes = createRouter();

  async function requireRobot(c: Context<ApiEnv>, id: string): Promise<RobotRecord> {
    const [robot] = await listRobots(db, c.var.actor.tenantId, id);
    if (!robot) throw new DomainError('NOT_FOUND', `There is no robot ${id}.`);
    return robot;
  }

  routes.openapi(robotsRoute, async (c) => {
    const robots = await listRobots(db, c.var.actor.tenantId);
    return c.json({ robots: robots.map(presentRobot) }, 200);
  });

  routes.openapi(enrolRoute, async (c) => {
    const { actor } = c.var;
    const { store, handoff, port, ...address } = c.req.valid('json');
    const [storeId, handoffId] = await Promise.all([
      resolveReference(db, actor.tenantId, 'location', store),
      resolveReference(db, actor.tenantId, 'location', handoff),
    ]);
    const robot = await enrolRobot(
      db,
      { actor, reason: 'setup' },
      { ...address, port: port ?? PRESET_PORT[address.driver], storeId, handoffId },
      (tx, entered) =>
        rememberReply(c, tx, { status: 201, body: presentRobot(entered), location: '/automation/robots' }),
    );
    return c.json(presentRobot(robot), 201);
  });

  routes.openapi(commandRoute, async (c) => {
    const command = c.req.valid('json');
    const robot = await requireRobot(c, c.req.valid('param').id);
    const content = { actor: c.var.actor, reason: command.reason ?? null };
    switch (command.command) {
      case 'pause':
        await tellRobot(c, robot.id, pauseUpdate, { ...content, when: command.when });
        break;
      case 'maintenance':
        await tellRobot(c, robot.id, maintenanceUpdate, content);
        break;
      case 'resume':
        await requireStationAt(c, robot.id);
        await tellRobot(c, robot.id, resumeUpdate, content);
        break;
      case 'clear':
        await requireStationAt(c, robot.id);
        await tellRobot(c, robot.id, clearUpdate, { ...content, faultId: command.faultId });
        break;
    }
    const now = presentRobot(await requireRobot(c, robot.id));
    await rememberAnswer(c, { status: 200, reply: now, location: null });
    return c.json(now, 200);
  });
  return routes;
}

function presentRobot(robot: RobotRecord): Robot {
  return {
    id: robot.id,
    name: robot.name,
    storeId: robot.storeId,
    handoffId: robot.handoffId,
    driver: robot.driver,
    ...(robot.mode !== null && { mode: robot.mode }),
    ...(robot.gate !== null && { gate: robot.gate }),
    ...(robot.doorOpen !== null && { doorOpen: robot.doorOpen }),
    ...(robot.unitAlarm !== null && { unitAlarm: robot.unitAlarm }),
    ...(robot.lockedOut !== null && { lockedOut: robot.lockedOut }),
    ...(robot.lockoutSeenAt && { lockoutSeenAt: robot.lockoutSeenAt.toISOString() }),
    ...(robot.resetSeenAt && { resetSeenAt: robot.resetSeenAt.toISOString() }),
    faults: robot.faults.map(({ id, kind, detail, jobId, raisedAt }) => ({
      id,
      kind,
      detail,
      ...(jobId !== null && { jobId }),
      raisedAt: new Date(raisedAt).toISOString(),
    })),
    dispatch: robot.dispatch,
    connected: robot.connected,
    ...(robot.busy !== null && { busy: robot.busy }),
    ...(robot.carrierOccupied !== null && { carrierOccupied: robot.carrierOccupied }),
    ...(robot.errorCode !== null && { errorCode: robot.errorCode }),
    ...(robot.heldFaultId !== null && { heldFaultId: robot.heldFaultId }),
    ...(robot.currentJobId !== null && { currentJobId: robot.currentJobId }),
    queue: robot.queue.map((request) => ({
      jobId: request.jobId,
      priority: request.priority,
      priorityName: priorityName(request.priority),
      requestedAt: new Date(request.requestedAt).toISOString(),
    })),
    ...(robot.lastContactAt && { lastContactAt: robot.lastContactAt.toISOString() }),
  };
}
