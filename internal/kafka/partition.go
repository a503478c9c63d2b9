package kafka

import "github.com/twmb/franz-go/pkg/kgo"

// bySource places a record as the standard producers of Kafka do when it has a key: murmur2 of the key. A
// record without a key stays with the records of its own source partition, so that their order is kept: the
// number of that partition, which the record carries, modulo the number of partitions. A record whose partition was
// given exactly goes there.
type bySource struct{ keyed kgo.Partitioner }

func newBySource() kgo.Partitioner { return bySource{kgo.StickyKeyPartitioner(nil)} }

// ForTopic returns the partitioner of a topic.
func (b bySource) ForTopic(topic string) kgo.TopicPartitioner {
	return bySourceTopic{b.keyed.ForTopic(topic)}
}

type bySourceTopic struct{ keyed kgo.TopicPartitioner }

// RequiresConsistency is always true: a record waits for its partition rather than going to another.
func (bySourceTopic) RequiresConsistency(*kgo.Record) bool { return true }

// Partition returns the partition of r out of n.
func (t bySourceTopic) Partition(r *kgo.Record, n int) int {
	if r.Partition < 0 {
		return int(-1 - r.Partition) // the library refuses one that there is not
	}
	if r.Key != nil {
		return t.keyed.Partition(r, n)
	}
	return int(r.Partition) % n
}

// exactly marks a partition as the one that a record has to go to.
func exactly(partition int32) int32 { return -1 - partition }
