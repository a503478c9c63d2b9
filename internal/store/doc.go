// Package store holds the state of stream tasks as bytes: ordered maps from key to value, on disk or in memory,
// under generations of writes that are not committed yet.
//
// A [DB] is the state folder of a process. A [Task] is the state of one task in it, a [Store] one map of a task.
// What a task writes stays in its open generation, where its own reads see it, until the driver has committed the
// records that the writes follow from:
//
//	Put, Delete, ...   into the open generation
//	Task.Changes       what the changelogs have to be told
//	Task.Seal          the open generation is sealed, and a new one is open
//	Task.Commit        the sealed generation reaches the base, with the changelogs' offsets; or else
//	Task.Rollback      neither generation has ever been
//
// So the base is always the state as of some commit, and a checkpoint says which: after a crash, a store is what
// its base holds and the records of its changelog from the checkpoint on. The base of a [Disk] store survives a
// crash of the process or of the machine as it was after some commit, not necessarily the latest; [DB.Flush]
// makes it the latest. The base of a [Memory] store lives as long as its task.
//
// # Concurrency
//
// A task and its stores are for one goroutine at a time, with one exception: [Task.Commit] may run on another one
// while the task goes on reading and writing. Different tasks, and the methods of DB, are for any goroutine. Whoever else wants
// to read a store takes a [View] of what is committed.
package store
