import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import { loadEnvironment, type TemporalConnection, temporalConnection } from '../../schemas/environment.ts';
import { ensureNamespace } from '../../stack/temporal.ts';

/** How to reach the run's Temporal server, for `Connection.connect` and `NativeConnection.connect` alike. */
export function temporalServer(): TemporalConnection {
  return temporalConnection(
    loadEnvironment({ TEMPORAL_ADDRESS: inject('temporalAddress'), ...inject('temporalTls') }, [
      'temporalAddress',
    ]),
  );
}

/** What `Worker.create({ workflowBundle })` takes: the workflows, bundled once for the run. */
export function workflowBundle(): { codePath: string } {
  const codePath = inject('workflowBundlePath');
  if (codePath === '') throw new Error('there is no workflows/index.ts to bundle');
  return { codePath };
}

/** A namespace of its own with the search attributes, so that task queues of other files are not met. */
export async function createTestNamespace(): Promise<string> {
  const namespace = `test-${randomBytes(6).toString('hex')}`;
  const { address, tls } = temporalServer();
  await ensureNamespace(address, namespace, tls);
  return namespace;
}
