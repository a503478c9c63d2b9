// Package rollout says which model the instances of a pipeline are to run, and how far they are with it: what stands in
// the records of the control topic and of the status topic, and what these add up to. It reads and writes no topic.
//
// Who changes the model (millrace model promote, and rollback) and the instances agree in three steps:
//
//  1. The control names the next [Deployment]. Each instance fetches the model, verifies it and its approvals, reproduces
//     its golden rows, and says in its [Status] that it is ready, or why it is not.
//  2. Once every member of the group is ready, the control names it as the current one. That is the decision, and it
//     holds for whoever reads it, whatever becomes of who wrote it. If a member has failed, the next one is taken out again:
//     nothing has changed for any record.
//  3. Each instance goes over to it between two of its commits, partition by partition. With its offsets each partition
//     has in the group what epoch it is in, so that no instance that has not heard of the change goes on with it.
//
// The control topic has one partition and is compacted: the last record under [Key] is all there is to know. One process
// writes it at a time, which a transactional id sees to.
package rollout
