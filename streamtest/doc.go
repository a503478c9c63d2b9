// Package streamtest runs a topology in a test: in one process, without a broker, with a clock that only the test
// moves. Topics have as many partitions as the test wants, records take the way that they take on Kafka, through the
// same tasks, stores, changelogs and commits, and a test can make the application crash or move its tasks.
package streamtest
