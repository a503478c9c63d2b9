package devbroker

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// batch returns a record batch with a body of the given length.
func batch(producer int64, epoch int16, attributes uint16, body int) []byte {
	b := make([]byte, batchHeader+body)
	binary.BigEndian.PutUint32(b[batchLength:], uint32(len(b)-batchLength-4))
	binary.BigEndian.PutUint16(b[batchAttributes:], attributes)
	binary.BigEndian.PutUint64(b[batchProducer:], uint64(producer))
	binary.BigEndian.PutUint16(b[batchEpoch:], uint16(epoch))
	return b
}

func TestScan(t *testing.T) {
	t.Parallel()
	log := bytes.Join([][]byte{
		batch(1, 0, transactional, 100),
		batch(2, 7, transactional, 0),
		batch(3, 0, 0, 10), // no transaction
		batch(4, 0, transactional|1, 5000),
		batch(1, 0, transactional|control, 16),
		batch(4, 0, transactional|control, 16),
		batch(4, 1, transactional, 9),
		batch(5, 0, transactional, 100),
	}, nil)
	for cut, want := range map[int]map[int64]int16{
		0:                 {2: 7, 4: 1, 5: 0},
		1:                 {2: 7, 4: 1}, // the last batch is not whole
		100:               {2: 7, 4: 1},
		100 + batchHeader: {2: 7, 4: 1},
	} {
		open := map[int64]int16{}
		if err := scan(bytes.NewReader(log[:len(log)-cut]), open); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, open); diff != "" {
			t.Errorf("%d bytes cut off: %s", cut, diff)
		}
	}
}

func TestPartitionOf(t *testing.T) {
	t.Parallel()
	for dir, want := range map[string]string{"houses-3": "houses", "my-topic-3": "my-topic", "a%2Fb-3": "a/b", "houses": "", "houses-x": "", "a%zz-3": ""} {
		topic, partition, ok := partitionOf(dir)
		if ok != (want != "") || ok && (topic != want || partition != 3) {
			t.Errorf("%s: %q, %d, %t", dir, topic, partition, ok)
		}
	}
}

func FuzzScan(f *testing.F) {
	f.Add(append(batch(1, 2, transactional, 3), batch(1, 2, control, 4)...))
	f.Add(batch(1, 2, transactional, 3)[:batchHeader-1])
	f.Fuzz(func(t *testing.T, log []byte) {
		open := map[int64]int16{}
		if err := scan(bytes.NewReader(log), open); err != nil {
			t.Fatal(err)
		}
		if len(open)*batchHeader > len(log) {
			t.Errorf("%d transactions in %d bytes", len(open), len(log))
		}
	})
}
