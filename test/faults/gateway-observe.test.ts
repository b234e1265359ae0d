import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { expect, inject, it } from 'vitest';
import { gatewayQueue } from '../../workflows/ids.ts';
import { MotionLab } from '../setup/motion-lab.ts';
import { RobotCell, start } from '../setup/robot-cell.ts';
import { createTestNamespace, temporalServer } from '../setup/temporal.ts';

it('answers `observe` on each robot’s own queue, for that robot alone', async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const lab = await MotionLab.open();
  const namespace = await createTestNamespace();
  const cell = await RobotCell.open(['--speed', '0']);
  const gateway = await start('workers/gateway.ts', [], {
    ...lab.environment(temporalServer().address),
    ...inject('temporalTls'),
    TEMPORAL_NAMESPACE: namespace,
  });
  const connection = await Connection.connect(temporalServer());
  const native = await NativeConnection.connect(temporalServer());
  try {
    const robot = await lab.addRobot(cell.port);
    await cell.putTube(1, 1, 1, 'TUBE-1');
    await lab.perform(robot, 'pick', 1);
    const taskQueue = `look-${robot.robotId}`;
    const worker = await Worker.create({
      connection: native,
      namespace,
      taskQueue,
      workflowsPath: fileURLToPath(new URL('../setup/look-workflow.ts', import.meta.url)),
    });
    const { workflow } = new Client({ connection, namespace });
    await worker.runUntil(async () => {
      const ask = (robotId: string) =>
        workflow.execute('look', {
          taskQueue,
          workflowId: randomUUID(),
          args: [robotId, gatewayQueue(robot.robotId)],
        });
      expect(await ask(robot.robotId)).toMatchObject({
        mode: 'auto',
        latchedNumber: 1,
        carrier: true,
        busy: false,
      });
      await expect(ask(randomUUID())).rejects.toMatchObject({ cause: { cause: { type: 'NOT_FOUND' } } });
    });
  } finally {
    await gateway.kill();
    await connection.close();
    await native.close();
    await cell.close();
    await lab.close();
  }
});
