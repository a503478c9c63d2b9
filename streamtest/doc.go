// Package streamtest runs a topology in a test: in one process, without a broker, with a clock that only the test
// moves. Topics have as many partitions as the test wants, and records are placed as Kafka's producers place them. They
// take the way that they take on Kafka, through the same tasks, stores, changelogs and commits, and a test can make the
// application crash at any point of a round, undo a round, or move its tasks.
//
//	d := streamtest.New(t, topology, streamtest.Partitions(3))
//	in := streamtest.NewInput(d, "orders", stream.String(), stream.String())
//	in.Pipe("key", "value", 1000)
//	out := streamtest.NewOutput(d, "counts", stream.String(), stream.Int64())
//	got := out.ReadAll()
//
// Each record is processed and committed by itself, so that no update is collapsed, unless the test says otherwise:
// [Input.PipeAll], [CommitByHand]. The same test gives the same each time, also where functions run concurrently.
package streamtest
