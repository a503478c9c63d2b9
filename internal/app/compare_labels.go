package app

import (
	"context"
	"math"

	"millrace.dev/internal/kafka"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/shadow"
	"millrace.dev/record"
)

// mostLabels bounds the labels that are held, of 16 bytes and a map's share each, and the pairs that wait for one.
const mostLabels = 4 << 20

// labels are the labels of records, by their places in the source, and the pairs that wait for theirs.
type labels struct {
	topic   string // "" where there is none
	end     kafka.Offsets
	known   map[uint64]float64 // NaN is expired
	waiting map[uint64][2]float64
	expired int64
	dropped int64 // labels and pairs for which there was no room
	wait    bool  // pairs wait: labels come later
}

func newLabels() *labels {
	return &labels{known: map[uint64]float64{}, waiting: map[uint64][2]float64{}}
}

// pair takes in a pair, whose label may be known.
func (l *labels) pair(to *shadow.Losses, at uint64, production, candidate float64) {
	label, ok := l.known[at]
	switch {
	case ok && math.IsNaN(label):
		l.expired++
	case ok:
		to.Add(production, candidate, label)
	case !l.wait:
	case len(l.waiting) < mostLabels:
		l.waiting[at] = [2]float64{production, candidate}
	default:
		l.dropped++
	}
}

// of returns the label of a record that was paired; NaN where it is not known.
func (l *labels) of(at uint64) float64 {
	if label, ok := l.known[at]; ok {
		return label
	}
	return math.NaN()
}

// add takes in a record of the topic of outcomes.
func (l *labels) add(c *comparing, raw *record.Raw) {
	o, err := outcome.DecodeOutcome(raw.Value)
	if err != nil || o.Topic != c.sides[shadow.Production].topic {
		return
	}
	topic, partition, offset, ok := parsePlace([]byte(o.Source))
	if !ok || topic != c.p.Source.Topic || !c.inRange(partition, offset) {
		return
	}
	label := math.NaN()
	if o.Label != nil {
		label = *o.Label
	}
	at := spot(partition, offset)
	if pair, ok := l.waiting[at]; ok {
		delete(l.waiting, at)
		if o.Label == nil {
			l.expired++
		} else {
			c.losses.Add(pair[0], pair[1], label)
		}
	}
	if len(l.known) >= mostLabels {
		l.dropped++
		return
	}
	l.known[at] = label
}

// readLabels reads the outcomes that are there.
func (c *comparing) readLabels(ctx context.Context) error {
	l, topic := c.labels, c.o.Outcomes
	if topic == "" && c.p.Outcomes != nil {
		topic = c.p.Outcomes.Sink
	}
	if topic == "" {
		return nil
	}
	_, err := c.client.Topics(ctx, topic)
	if len(kafka.Missing(err)) > 0 && c.o.Outcomes == "" {
		c.notes = append(c.notes, "there is no topic "+topic+" yet, so there are no labels")
		return nil
	}
	if err != nil {
		return err
	}
	end, err := c.client.EndOffsets(ctx, topic, true)
	if err != nil {
		return err
	}
	l.topic, l.end = topic, end
	err = c.client.Tap(ctx, kafka.TapConfig{Topic: topic, From: kafka.FromStart}, func(rs []record.Raw) error {
		for i := range rs {
			if rs[i].Offset < end[rs[i].Partition] {
				l.add(c, &rs[i])
			}
		}
		return nil
	})
	l.wait = c.o.Follow
	if err == nil {
		err = ctx.Err()
	}
	return err
}
