import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Connection, type TestService } from '@temporalio/client';
import {
  type InternalConnectionOptions,
  InternalConnectionOptionsSymbol,
} from '@temporalio/client/lib/connection.js';
import { msToTs, requiredTsToMs } from '@temporalio/common/lib/time.js';
import { freePort } from '../../../stack/processes.ts';
import { ensureSearchAttributes } from '../../../stack/temporal.ts';
import { startWatchdog, type Watchdog } from '../../../stack/watchdog.ts';
import { workflowBundle } from '../../setup/temporal.ts';
import type { Call } from '../fakes.ts';
import { Floor } from '../floor.ts';

/**
 * Floors on a server whose clock jumps from timer to timer while a test skips, and runs like any other between. Jobs that
 * say nothing of their own wait as long as the presets say. The server has one clock: tests on it run one after the other.
 */
export class SkippingServer {
  readonly #address: string;
  readonly #connection: Connection;
  readonly #clock: TestService;
  /** ends the server when it is closed, or this process dies */
  readonly #watchdog: Watchdog;
  readonly #calls: (Call & { readonly at: number })[] = [];
  readonly #floors: Floor[] = [];

  private constructor(address: string, connection: Connection, watchdog: Watchdog) {
    if (connection.testService === undefined)
      throw new Error('the connection was made without the test service');
    this.#address = address;
    this.#connection = connection;
    this.#clock = connection.testService;
    this.#watchdog = watchdog;
  }

  /**
   * Starts the server. The SDK's own TestWorkflowEnvironment gives it 5 s, which a JVM on a busy machine does not keep.
   * @param path of the server's program
   */
  static async start(path: string): Promise<SkippingServer> {
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const { pid } = spawn(path, [String(port)], { stdio: 'ignore' });
    const watchdog = startWatchdog();
    try {
      if (pid === undefined) throw new Error(`${path} does not start`);
      watchdog.watch(pid, 'SIGTERM');
      const options: InternalConnectionOptions = {
        address,
        connectTimeout: '60s',
        [InternalConnectionOptionsSymbol]: { supportsTestService: true },
      };
      const connection = await Connection.connect(options);
      await ensureSearchAttributes(address, 'default');
      return new SkippingServer(address, connection, watchdog);
    } catch (error) {
      watchdog.close();
      throw error;
    }
  }

  async open(taskQueue?: string): Promise<Floor> {
    const floor = await Floor.open({ address: this.#address }, workflowBundle(), randomUUID(), taskQueue);
    floor.limits = {};
    floor.beforeEach = async (call) => {
      const { time } = await this.#clock.getCurrentTime({});
      const at = requiredTsToMs(time, 'time');
      floor.lab.skippedMs = at - Date.now();
      this.#calls.push({ ...call, at });
    };
    this.#floors.push(floor);
    return floor;
  }

  /** Lets the time pass: whatever falls due meanwhile happens, as fast as the workflows do it. */
  async skip(ms: number): Promise<void> {
    await this.#clock.unlockTimeSkippingWithSleep({ duration: msToTs(ms) });
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
      await this.#connection.close();
      this.#watchdog.close();
    }
  }
}
