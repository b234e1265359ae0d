import { randomUUID } from 'node:crypto';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { ensureSearchAttributes } from '../../../stack/temporal.ts';
import { workflowBundle } from '../../setup/temporal.ts';
import type { Call } from '../fakes.ts';
import { Floor } from '../floor.ts';

/**
 * Floors on a server whose clock jumps from timer to timer while a test skips, and runs like any other between. Jobs that
 * say nothing of their own wait as long as the presets say. The server has one clock: tests on it run one after the other.
 */
export class SkippingServer {
  readonly #environment: TestWorkflowEnvironment;
  readonly #calls: (Call & { readonly at: number })[] = [];
  readonly #floors: Floor[] = [];

  private constructor(environment: TestWorkflowEnvironment) {
    this.#environment = environment;
  }

  /** @param path of the server's program */
  static async start(path: string): Promise<SkippingServer> {
    const environment = await startEnvironment(path);
    await ensureSearchAttributes(environment.address, 'default');
    return new SkippingServer(environment);
  }

  async open(taskQueue?: string): Promise<Floor> {
    const { address } = this.#environment;
    const floor = await Floor.open({ address }, workflowBundle(), randomUUID(), taskQueue);
    floor.limits = {};
    floor.beforeEach = async (call) => {
      const at = await this.#environment.currentTimeMs();
      floor.lab.skippedMs = at - Date.now();
      this.#calls.push({ ...call, at });
    };
    this.#floors.push(floor);
    return floor;
  }

  /** Lets the time pass: whatever falls due meanwhile happens, as fast as the workflows do it. */
  skip(ms: number): Promise<void> {
    return this.#environment.sleep(ms);
  }

  /** When an activity was called for a job, a robot or a comparison, in ms since the epoch by the server's clock. */
  times(whose: string, name: string): readonly number[] {
    return this.#calls.flatMap((call) => (call.whose === whose && call.name === name ? [call.at] : []));
  }

  /** @throws Error naming the histories that do not replay */
  async close(): Promise<void> {
    try {
      await Promise.all(this.#floors.map((floor) => floor.close()));
    } finally {
      await this.#environment.teardown();
    }
  }
}

/** On a busy machine the server may take longer to start than the 5 s the SDK gives it. */
async function startEnvironment(path: string): Promise<TestWorkflowEnvironment> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await TestWorkflowEnvironment.createTimeSkipping({
        server: { executable: { type: 'existing-path', path } },
      });
    } catch (error) {
      if (tries === 6 || !/did not start within/.test(String(error))) throw error;
    }
  }
}
