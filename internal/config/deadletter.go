package config

import "time"

// DeadLetter says where records go that get no prediction.
type DeadLetter struct {
	Topic string
	// Compat names a system whose headers letters have beside their own: none, connect, streams or spring.
	Compat  string
	Breaker Breaker
}

// Breaker says when a partition with too many dead letters is paused. The zero value is never.
type Breaker struct {
	Rate        float64       // the share of dead letters; 0 is not looked at
	Records     int           // that a share is taken of, at least
	Over        time.Duration // the time that it is taken over
	Consecutive int           // dead letters in a row; 0 is not looked at
	Retry       time.Duration // the first pause
}

// deadLetterFields are the keys of dead_letter.
func deadLetterFields() []field {
	return []field{
		{
			key: "topic", kind: kindText, required: true, check: checkTopic, example: "housing.dlq",
			doc: "The topic of the records that get no prediction, each with the reason in its headers",
			set: func(p *Pipeline, v value) { p.DeadLetter.Topic = v.text },
		},
		{
			key: "compat", kind: kindText, def: "none", allowed: []string{"none", "connect", "streams", "spring"},
			doc: "The system whose headers a dead letter has too, for tools that know these: Kafka Connect, Kafka Streams or Spring",
			set: func(p *Pipeline, v value) { p.DeadLetter.Compat = v.text },
		},
		{key: "breaker", kind: kindMapping, doc: "When a partition is paused, instead of going on to fill the topic: nothing is lost, and the other partitions go on", fields: []field{
			{
				key: "rate", kind: kindShare, def: "5%", least: 0, most: 1,
				doc: "The share of dead letters from which on the partition is paused; 0 is none",
				set: func(p *Pipeline, v value) { p.DeadLetter.Breaker.Rate = v.number },
			},
			{
				key: "records", kind: kindInteger, def: "200", bounded: true, least: 1, most: 1_000_000,
				doc: "How many records there have to be for the share to count",
				set: func(p *Pipeline, v value) { p.DeadLetter.Breaker.Records = int(v.integer) },
			},
			{
				key: "over", kind: kindDuration, def: "60s", least: float64(time.Second), most: float64(24 * time.Hour),
				doc: "The time over which records are counted for the share",
				set: func(p *Pipeline, v value) { p.DeadLetter.Breaker.Over = v.time },
			},
			{
				key: "consecutive", kind: kindInteger, def: "50", bounded: true, least: 0, most: 1_000_000,
				doc: "How many dead letters in a row pause the partition, however long they take to come; 0 is none",
				set: func(p *Pipeline, v value) { p.DeadLetter.Breaker.Consecutive = int(v.integer) },
			},
			{
				key: "retry", kind: kindDuration, def: "1m", least: float64(time.Second), most: float64(24 * time.Hour),
				doc: "After how long a few records are let through on trial; where these are bad too, twice as long, up to 10 min",
				set: func(p *Pipeline, v value) { p.DeadLetter.Breaker.Retry = v.time },
			},
			{
				key: "enabled", kind: kindBool, def: "true", doc: "Whether partitions are paused at all",
				set: func(p *Pipeline, v value) {
					if !v.yes {
						p.DeadLetter.Breaker = Breaker{}
					}
				},
			},
		}},
	}
}
