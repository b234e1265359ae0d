import type { ControllerView, RobotOperation } from '../domain/controller.ts';

/** A command as it goes over the wire. */
export interface WireCommand {
  readonly number: number;
  readonly operation: RobotOperation;
  readonly cassette: number;
  readonly level: number;
  readonly slot: number;
}

/**
 * The wire to one robot's controller. Everything but `trigger` moves nothing and may be repeated.
 * Everything but `trigger` and `close` throws when the controller does not answer.
 */
export interface RobotWire {
  /** ms after which a request without reply counts as lost */
  readonly timeoutMs: number;
  /** writes the command, number included; nothing moves before the trigger */
  arm(command: WireCommand): Promise<void>;
  /** makes a trigger that is still on its way harmless, and points the sensors at the address */
  disarm(address: Omit<WireCommand, 'number'>): Promise<void>;
  observe(): Promise<ControllerView>;
  /**
   * Starts what was armed: goes out at most once. `taken`: acknowledged. `refused`: it surely started nothing.
   * `unknown`: nobody can say.
   */
  trigger(): Promise<'taken' | 'refused' | 'unknown'>;
  /** ends the connection at once; the next request makes a new one */
  close(): void;
}
