import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import type { Actor } from '../../domain/actor.ts';
import type { Confirmation } from '../../domain/confirmation.ts';
import type { JobKind } from '../../domain/job.ts';
import { CONTROL_QUEUE, workflowIds } from '../ids.ts';
import type { InventoryInput } from './inventory.ts';
import type { JobInput } from './job.ts';
import { MOVE_SAMPLES, type MoveInput } from './move.ts';
import type { PicklistInput } from './picklist.ts';
import { PLACE_SAMPLE, type PlacementInput } from './placement.ts';
import type { RackScanInput } from './rack-scan.ts';
import { RETRIEVE_SAMPLE, type RetrievalInput } from './retrieval.ts';
import type { RobotInput } from './robot.ts';

/** What of a job's row says how its workflow is started. */
export interface StartableJob {
  readonly id: string;
  readonly kind: JobKind;
  readonly mode: 'hand' | 'robot';
  readonly sampleId: string;
  readonly priority: number;
  readonly actor: Actor;
  readonly input: { readonly confirmation: Confirmation | null };
}

export interface JobStart {
  readonly workflowName: typeof PLACE_SAMPLE | typeof RETRIEVE_SAMPLE | typeof MOVE_SAMPLES;
  readonly workflowId: string;
  readonly input: PlacementInput | RetrievalInput | MoveInput;
}

/** How the workflow of a job is started: the same for the API, which starts it, and the sweep, which starts it again. */
export function jobStart(job: StartableJob): JobStart {
  const input: JobInput = {
    jobId: job.id,
    actor: job.actor,
    sampleId: job.sampleId,
    mode: job.mode,
    priority: job.priority,
  };
  const workflowId = workflowIds[job.kind](job.actor.tenantId, job.id);
  switch (job.kind) {
    case 'placement':
      return {
        workflowName: PLACE_SAMPLE,
        workflowId,
        input: { ...input, confirmation: job.input.confirmation },
      };
    case 'retrieval':
      return { workflowName: RETRIEVE_SAMPLE, workflowId, input };
    case 'move':
      return { workflowName: MOVE_SAMPLES, workflowId, input };
  }
}

const TENANT = defineSearchAttributeKey('Tenant', 'KEYWORD');
const JOB_KIND = defineSearchAttributeKey('JobKind', 'KEYWORD');
const JOB_STATE = defineSearchAttributeKey('JobState', 'KEYWORD');
const SAMPLE_ID = defineSearchAttributeKey('SampleId', 'KEYWORD');
const ROBOT_ID = defineSearchAttributeKey('RobotId', 'KEYWORD');

/** Options with which the client starts a job's workflow: joined when it runs, not run again when it has closed. */
export function jobStartOptions(job: StartableJob) {
  const { workflowId, input } = jobStart(job);
  const typedSearchAttributes: SearchAttributePair[] = [
    { key: TENANT, value: job.actor.tenantId },
    { key: JOB_KIND, value: job.kind },
    { key: JOB_STATE, value: 'QUEUED' },
    { key: SAMPLE_ID, value: job.sampleId },
  ];
  return {
    workflowId,
    args: [input],
    taskQueue: CONTROL_QUEUE,
    workflowIdConflictPolicy: 'USE_EXISTING',
    workflowIdReusePolicy: 'REJECT_DUPLICATE',
    // After a killed worker its successor gets the task after this time, not after the usual 10 s.
    workflowTaskTimeout: '2 seconds',
    typedSearchAttributes,
    staticSummary: `${job.kind} by ${job.mode}, job ${job.id}`,
  } as const;
}

/** Options with which a robot's entity is started by whoever has something to tell it: it is joined when it runs. */
export function robotStartOptions(tenantId: string, robotId: string) {
  const input: RobotInput = { tenantId, robotId, state: null };
  const args: [RobotInput] = [input];
  const typedSearchAttributes: SearchAttributePair[] = [
    { key: TENANT, value: tenantId },
    { key: ROBOT_ID, value: robotId },
  ];
  return {
    workflowId: workflowIds.robot(tenantId, robotId),
    args,
    taskQueue: CONTROL_QUEUE,
    workflowIdConflictPolicy: 'USE_EXISTING' as const,
    workflowTaskTimeout: '2 seconds' as const,
    typedSearchAttributes,
    staticSummary: `robot ${robotId}`,
  };
}

/** Options with which the comparison of a store's inventory is started, by whoever asks for it or finds it begun. */
export function inventoryStartOptions(input: InventoryInput) {
  const { tenantId, robotId, comparisonId } = input;
  const args: [InventoryInput] = [input];
  const typedSearchAttributes: SearchAttributePair[] = [
    { key: TENANT, value: tenantId },
    { key: ROBOT_ID, value: robotId },
  ];
  return {
    workflowId: workflowIds.inventory(tenantId, comparisonId),
    args,
    workflowTaskTimeout: '2 seconds' as const,
    typedSearchAttributes,
    staticSummary: `inventory of robot ${robotId}`,
  };
}

/** Options with which a scanner is set to read a rack: joined when it does already. */
export function rackScanStartOptions(input: RackScanInput) {
  const { tenantId } = input.actor;
  const args: [RackScanInput] = [input];
  const typedSearchAttributes: SearchAttributePair[] = [{ key: TENANT, value: tenantId }];
  return {
    workflowId: workflowIds.rackScan(tenantId, input.scanId),
    args,
    workflowIdConflictPolicy: 'USE_EXISTING' as const,
    workflowTaskTimeout: '2 seconds' as const,
    typedSearchAttributes,
    staticSummary: `rack scan ${input.scanId}`,
  };
}

/** Options with which a picklist's workflow is started: joined when it runs, started again when it was lost. */
export function picklistStartOptions(tenantId: string, picklistId: string) {
  const input: PicklistInput = { tenantId, picklistId };
  const args: [PicklistInput] = [input];
  const typedSearchAttributes: SearchAttributePair[] = [{ key: TENANT, value: tenantId }];
  return {
    workflowId: workflowIds.picklist(tenantId, picklistId),
    args,
    taskQueue: CONTROL_QUEUE,
    workflowIdConflictPolicy: 'USE_EXISTING' as const,
    workflowTaskTimeout: '2 seconds' as const,
    typedSearchAttributes,
    staticSummary: `picklist ${picklistId}`,
  };
}
