import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Tube {
  readonly barcode: string;
  /** false: the label cannot be read */
  readonly readable: boolean;
}

export interface Address {
  readonly cassette: number;
  readonly level: number;
  readonly slot: number;
}

/** A motion under way; on disk as well, so that one that was cut off is told at the next start. */
export interface CurrentMotion extends Address {
  readonly number: number;
  readonly operation: 'pick' | 'place' | 'scan' | 'home' | 'transfer' | 'unknown';
  readonly startedAt: string;
  moved: { readonly barcode: string; readonly from: string; readonly to: string } | null;
}

/** One line of the motion log. */
export interface LoggedMotion extends Readonly<CurrentMotion> {
  readonly endedAt: string;
  readonly result: 'done' | 'error' | 'interrupted';
  readonly errorCode: number;
}

export interface World {
  /** by `cassette/level/slot` */
  readonly positions: Record<string, Tube>;
  carrier: Tube | null;
  readonly floor: Tube[];
  /** where the carrier stands */
  at: Address;
  mode: 'manual' | 'auto' | 'estop';
  /** a service door is open, the store is in alarm, a person has locked the robot out */
  doorOpen: boolean;
  alarm: boolean;
  lockedOut: boolean;
  latched: number;
  motion: CurrentMotion | null;
}

export const placeName = ({ cassette, level, slot }: Address) => `${cassette}/${level}/${slot}`;

/** The physical world on disk: it outlives the death of the controller's program. */
export interface WorldFile {
  readonly world: World;
  save(): void;
  log(motion: LoggedMotion): void;
  readLog(): LoggedMotion[];
}

/**
 * Opens the world in a folder, or begins an empty one. A motion that was under way when the program died is logged as
 * interrupted, unless its line was written already.
 */
export function openWorld(folder: string): WorldFile {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, 'world.json');
  const logFile = join(folder, 'motions.jsonl');
  const world: World = existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : {
        positions: {},
        carrier: null,
        floor: [],
        at: { cassette: 0, level: 0, slot: 0 },
        mode: 'auto',
        doorOpen: false,
        alarm: false,
        lockedOut: false,
        latched: 0,
        motion: null,
      };
  const opened: WorldFile = {
    world,
    save() {
      writeFileSync(`${file}.new`, JSON.stringify(world));
      renameSync(`${file}.new`, file); // atomic: a kill leaves the old world or the new one
    },
    log(motion) {
      appendFileSync(logFile, `${JSON.stringify(motion)}\n`);
    },
    readLog() {
      if (!existsSync(logFile)) return [];
      const lines = readFileSync(logFile, 'utf8').split('\n');
      return lines.slice(0, -1).map((line): LoggedMotion => JSON.parse(line)); // a line without end was cut off
    },
  };
  const cutOff = world.motion;
  if (cutOff) {
    const logged = opened.readLog().at(-1);
    if (logged?.number !== cutOff.number || logged.startedAt !== cutOff.startedAt) {
      opened.log({ ...cutOff, endedAt: new Date().toISOString(), result: 'interrupted', errorCode: 0 });
    }
    world.motion = null;
    opened.save();
  }
  return opened;
}
