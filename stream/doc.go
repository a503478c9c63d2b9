// Package stream declares stream applications in the words of Kafka Streams: streams, tables and global tables, joins,
// aggregations and windows, and beyond them functions over batches of records that run concurrently and keep order.
//
// A [Topology] is declared with functions and methods, typed by generics: verbs that keep the types of key and value
// are methods ([Stream.Filter]), the others functions ([MapValues]). Faults of the declaration are collected, each
// with the file and line of the call, and returned by [Topology.Err] and by whatever runs the topology. Package
// millrace runs one on Kafka, package streamtest in a test without a broker.
//
// Each partition of a sub-topology is a task, and tasks run at the same time: a function is called by several goroutines at
// once, and has to guard what it keeps between calls. What a [Processor] keeps is of one task alone. A record may come again
// after a fault, so that functions should give the same for the same. They must not change what they are given: it is also
// with other operators, and in stores.
//
// # Keys
//
// A key is compared by == in memory, and by its bytes in stores and topics: two keys have to be equal by both or by none. A
// pointer, or a struct with one or with a [time.Time], is not such a key.
//
// # Null
//
// A Kafka record may lack its key or its value. A function of keys and values never sees a null: what narrows or changes
// a value ([Stream.Filter], [MapValues], [FlatMapValues], [TryMapValues]) lets a record without a value pass as it is,
// and what needs the value to decide where the record goes ([SelectKey], [Map], [FlatMap], [GroupBy], [Stream.Split])
// drops it, as joins and aggregations do; but [CountSessions] counts it, and so does [CountWindows] unless the windows slide. The key of a record without one is the zero K for
// functions. Joins and groups drop such a record; a left or outer join sends it on without a match; [JoinGlobal] computes
// its key from it. To a table a record without a value is a deletion.
//
// Functions of a whole [Record] ([Stream.Peek], [Process], [MapBatch], [PartitionBy]) see every record, with NullKey and
// NullValue. To have any function see nulls, read the topic with [Nullable] as codec.
//
// # Windows
//
// [WindowedBy] divides a group into windows of event time, [Tumbling], [Hopping] or [Sliding]; [CountWindows],
// [ReduceWindows] and [AggregateWindows] make a table of them, whose keys are [Windowed]. Tumbling and hopping windows are at
// fixed times; sliding ones are where the records of a key are, so that each two that are close enough are in a window
// together. A window takes records until the operator's stream time has reached its end and the grace after it (of a sliding
// one: has passed them), which is none unless [TimeWindows.Grace] or [SlidingWindows.Grace] gives some; what comes later is
// dropped. [WindowedBySessions] divides a group by activity: [Sessions] end when a key has no record for a gap, and
// [CountSessions], [ReduceSessions] and [AggregateSessions] make a table of them; what follows holds for them too. Stream time and what was emitted are kept with the rows, so that the same records are late after a crash, and
// a window that was emitted on close ([EmitOnClose]) is not emitted again. Where records stop coming [IdleTimeout] lets
// windows close by the clock.
//
// Updates of any table can be held back: those of windows until they close ([SuppressUntilWindowCloses]), those of others for
// a time ([SuppressUntilTimeLimit]). Several groups can make one aggregate ([Cogroup]), also in windows.
//
// # Tables
//
// A table is filtered, mapped and joined ([JoinTables], [LeftJoinTables], [OuterJoinTables]) without another store: its rows
// are computed from those that are kept. Each update of a row says exactly what the row was before, as it was sent on. So
// rows can be grouped ([GroupTable]) and aggregated ([CountTable], [ReduceTable], [AggregateTable]): what a row was is taken
// out of its group, and what it is put into its group, when it changes.
//
// # Dropped records
//
// A record is dropped because it cannot be decoded, because it is late, or because an operator needs what it lacks.
// Each is counted under its operator and a class, and goes to the dead letters if the topology has them.
package stream
