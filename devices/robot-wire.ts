import type { ControllerView, RobotOperation } from '../domain/controller.ts';

/** A place in a store, as its robot counts. */
export interface WireAddress {
  readonly cassette: number;
  readonly level: number;
  readonly slot: number;
}

/** A command as it goes over the wire. */
export interface WireCommand extends WireAddress {
  readonly number: number;
  readonly operation: RobotOperation;
  /** for a transfer, whose own address is where it goes from */
  readonly to?: WireAddress;
}

/** Thrown by `arm` for an operation that a store of this kind does not know; the same again would be refused again. */
export class ForeignOperation extends Error {
  constructor(operation: RobotOperation, instead: string) {
    super(`the store does not know the operation ${operation}: ${instead}`);
    this.name = 'ForeignOperation';
  }
}

/**
 * The wire to one robot's controller. Everything but `trigger` moves nothing and may be repeated.
 * Everything but `trigger` and `close` throws when the controller does not answer.
 */
export interface RobotWire {
  /** ms after which a request without reply counts as lost */
  readonly timeoutMs: number;
  /**
   * writes the command, number included; nothing moves before the trigger
   * @throws ForeignOperation
   */
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
