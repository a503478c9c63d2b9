package kafka

import "github.com/twmb/franz-go/pkg/kgo"

// PartitionFor returns the partition, out of n, to which a session writes a record that comes from a partition of its source: murmur2
// of the key, as the standard producers of Kafka have it; without a key, nil, the number of that partition modulo n.
func PartitionFor(key []byte, source int32, n int) int32 {
	return int32(newBySource().ForTopic("").Partition(&kgo.Record{Key: key, Partition: source}, n)) //nolint:gosec // below n
}
