// Package engine runs the data path on a Kafka topic: it reads records, has a [Worker] process them, and writes
// predictions and dead letters. Under exactly-once, offsets, predictions and dead letters are committed in one
// transaction, so that every record of the source has exactly one committed prediction or one dead letter,
// whatever stops or fails; and records of one key come out in the order in which they went in.
//
// An [Engine] goes on by itself after everything that a new session can mend: rebalances, lost brokers,
// transactions that were timed out or fenced. What it cannot mend ends [Engine.Run] with an error that says what
// to do. It never drops a record and never waits without saying so.
package engine
