package devbroker

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// cleanName is the file in the broker's folder that says that the broker was closed in order.
const cleanName = "closed"

// When the broker's process dies, the transactions that were open die with it: kfake treats them as aborted the
// next time that it loads them. But it does not write that down. Once the producer goes on and commits its next
// transaction, and the process dies a second time, the commit would be taken for that of all the producer's
// records before it, the dead ones among them. Hence each start after a kill finds the open transactions in
// the log and writes the abort markers that end them, before any client is let in.

// orphan is a transaction that is open in one partition.
type orphan struct {
	topic     string
	partition int32
	producer  int64
	epoch     int16
}

// orphans returns the transactions that the log under data leaves open. It also removes what would make kfake go
// on with them: the sessions that a Close has saved which was killed before its end, and the snapshots of the
// partitions, from which kfake takes the state of those that were not written to since.
func orphans(data string) ([]orphan, error) {
	if err := remove(filepath.Join(data, "session_state.json")); err != nil {
		return nil, err
	}
	dirs, err := os.ReadDir(filepath.Join(data, "partitions"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []orphan
	for _, d := range dirs {
		topic, partition, ok := partitionOf(d.Name())
		if !ok {
			continue
		}
		dir := filepath.Join(data, "partitions", d.Name())
		open, err := openTransactions(dir)
		if err != nil {
			return nil, err
		}
		if len(open) == 0 {
			continue
		}
		if err := remove(filepath.Join(dir, "snapshot.json")); err != nil {
			return nil, err
		}
		for producer, epoch := range open {
			all = append(all, orphan{topic: topic, partition: partition, producer: producer, epoch: epoch})
		}
	}
	slices.SortFunc(all, func(a, b orphan) int { // the order of a map is none
		return cmp.Or(strings.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition), cmp.Compare(a.producer, b.producer))
	})
	return all, nil
}

// remove removes a file that may not be there.
func remove(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// partitionOf splits the name of a partition's folder, as in houses-3.
func partitionOf(dir string) (topic string, partition int32, ok bool) {
	i := strings.LastIndexByte(dir, '-')
	if i < 0 {
		return "", 0, false
	}
	topic, err := url.PathUnescape(dir[:i])
	n, err2 := strconv.ParseInt(dir[i+1:], 10, 32)
	return topic, int32(n), err == nil && err2 == nil
}

// openTransactions returns the producers, with their epochs, that have written records to the partition in dir
// without a marker after them.
func openTransactions(dir string) (map[int64]int16, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.dat"))
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(baseOffset(a), baseOffset(b)) })
	open := map[int64]int16{}
	for _, name := range names {
		if err := scanFile(name, open); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return open, nil
}

// baseOffset returns the number that names a segment's file.
func baseOffset(name string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), ".dat"), 10, 64)
	if err != nil {
		return -1 // no segment; its bytes are not batches either
	}
	return n
}

// The header of a record batch, version 2, as Kafka's protocol guide has it: the bytes up to the first record,
// and where the fields that matter here begin.
const (
	batchHeader     = 61
	batchLength     = 8 // int32: the bytes after it
	batchAttributes = 21
	batchProducer   = 43
	batchEpoch      = 51

	transactional = 0x10
	control       = 0x20
)

func scanFile(name string, open map[int64]int16) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	return scan(bufio.NewReaderSize(f, 1<<16), open)
}

// scan follows the transactions through the batches of one file. A batch at the end that is not whole is not
// there: kfake cuts it off.
func scan(r io.Reader, open map[int64]int16) error {
	var h [batchHeader]byte
	for {
		if _, err := io.ReadFull(r, h[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		} else if err != nil {
			return err
		}
		rest := int64(binary.BigEndian.Uint32(h[batchLength:])) + batchLength + 4 - batchHeader
		if rest < 0 {
			return nil
		}
		if n, err := io.CopyN(io.Discard, r, rest); n < rest && errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		producer := int64(binary.BigEndian.Uint64(h[batchProducer:]))
		switch attributes := binary.BigEndian.Uint16(h[batchAttributes:]); {
		case attributes&control != 0:
			delete(open, producer)
		case attributes&transactional != 0:
			open[producer] = int16(binary.BigEndian.Uint16(h[batchEpoch:]))
		}
	}
}

// abort writes the markers that end the transactions, over a connection of the broker's own.
func abort(ctx context.Context, c net.Conn, all []orphan) error {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Version = 1
	for _, o := range all {
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch = o.producer, o.epoch
		t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		t.Topic, t.Partitions = o.topic, []int32{o.partition}
		m.Topics = append(m.Topics, t)
		req.Markers = append(req.Markers, m)
	}
	resp := kmsg.NewPtrWriteTxnMarkersResponse()
	resp.Version = req.Version
	if err := roundTrip(ctx, c, req, resp); err != nil {
		return err
	}
	for _, m := range resp.Markers {
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				err := kerr.ErrorForCode(p.ErrorCode)
				if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) { // the folder of a topic that is gone
					return fmt.Errorf("end the transaction of producer %d in partition %d of %s: %w", m.ProducerID, p.Partition, t.Topic, err)
				}
			}
		}
	}
	return nil
}

// roundTrip sends one request and reads its answer. When ctx is done first it closes the connection.
func roundTrip(ctx context.Context, c net.Conn, req kmsg.Request, resp kmsg.Response) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if _, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
		return errors.Join(err, ctx.Err())
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return errors.Join(err, ctx.Err())
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, body); err != nil {
		return errors.Join(err, ctx.Err())
	}
	header := 4 // the correlation id
	if resp.IsFlexible() {
		header++ // no tags
	}
	if len(body) < header {
		return io.ErrUnexpectedEOF
	}
	return resp.ReadFrom(body[header:])
}
