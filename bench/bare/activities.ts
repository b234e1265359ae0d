/** The activity of the bare workflows: no work at all. */
export const bareActivities = {
  async nothing(): Promise<string> {
    return 'done';
  },
};
