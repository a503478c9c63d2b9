// Package kafka is millrace's view of Apache Kafka, and the only package that knows a client library. It offers
// what the rest of millrace needs, in the types of package record:
//
//   - [Client]: reachability, topics, offsets and groups;
//   - [Session]: membership of a consumer group with a producer, where the records that were read, the records
//     that were written and the offsets become visible together (exactly once) or in a safe order (at least once);
//   - [Client.Read]: reading partitions outside a group, exactly to where they end;
//   - [Producer] and [Client.Tap]: writing records to a topic and looking at one.
//
// Every error that a person has to act on is an [*Error]. [Recover] is the one place that decides whether an
// error is worth another try.
package kafka
