package main

import (
	"context"
	"time"

	"millrace.dev/stream"
)

// Topics that the application reads and writes. They have to be there before it starts.
const (
	paymentsTopic  = "payments"
	accountsTopic  = "accounts"
	merchantsTopic = "merchants"
	scoredTopic    = "payments.scored"
	alertsTopic    = "payments.alerts"
	deadTopic      = "payments.dead"
)

// Payment is a payment by card. The key of its record is the card.
type Payment struct {
	ID       string    `json:"id"`
	Card     string    `json:"card"`
	Merchant string    `json:"merchant"`
	Amount   float64   `json:"amount"`
	At       time.Time `json:"at"` // its event time
}

// Account is who a card belongs to. The key of its record is the card.
type Account struct {
	Card    string    `json:"card"`
	Country string    `json:"country"`
	Limit   float64   `json:"limit"` // of a minute
	Since   time.Time `json:"since"` // from when on the row holds
}

// Merchant is where a payment was made. The key of its record is the merchant's id.
type Merchant struct {
	Merchant string `json:"merchant"`
	Name     string `json:"name"`
	Country  string `json:"country"`
	Risk     int    `json:"risk"` // 0 to 10
}

// Enriched is a payment with what is known of it.
type Enriched struct {
	Payment

	Account  *Account  `json:"account,omitempty"`
	Merchant *Merchant `json:"merchant_details,omitempty"`
	Score    float64   `json:"score"` // 0 is harmless, 1 is fraud
}

// Activity is what a card has done in a minute.
type Activity struct {
	Payments int     `json:"payments"`
	Total    float64 `json:"total"`
	Limit    float64 `json:"limit"`
	Highest  float64 `json:"highest_score"`
}

// Alert says that a card has done more in a minute than it should.
type Alert struct {
	From time.Time `json:"from"` // the minute

	Activity
}

// newTopology declares the application: each payment is joined with the account of its card and with its merchant, and
// scored; cards that spend more in a minute than their limit, or pay more than five times, raise one alert a minute.
func newTopology() *stream.Topology {
	t := stream.New("card-alerts",
		stream.DeadLetters(deadTopic),
		stream.IdleTimeout(20*time.Second), // the last alerts do not wait for the next payment
	)
	text := stream.String()
	payments := stream.From(t, paymentsTopic, text, stream.JSON[Payment](),
		stream.EventTime(func(r *stream.Record[string, Payment]) time.Time { return r.Value.At }))
	accounts := stream.TableFrom(t, "accounts", accountsTopic, text, stream.JSON[Account](),
		stream.EventTime(func(r *stream.Record[string, Account]) time.Time { return r.Value.Since }))
	merchants := stream.GlobalTableFrom(t, "merchants", merchantsTopic, text, stream.JSON[Merchant]())

	known := stream.LeftJoinTable(payments, accounts, "with-account", withAccount)
	placed := stream.LeftJoinGlobal(known, merchants, merchantOf, withMerchant, stream.Named("with-merchant"))
	scored := stream.MapBatch(placed, "score", score, stream.BatchOptions{
		MaxSize: 500, MaxWait: 5 * time.Millisecond, Concurrency: 4, OnError: stream.ErrorPolicy{Retries: 2, Then: stream.DeadLetter},
	}).Values(stream.JSON[Enriched]())
	scored.To(scoredTopic, stream.Provenance())

	minutes := stream.WindowedBy(stream.GroupByKey(scored), stream.Tumbling(time.Minute).Grace(10*time.Second))
	activity := stream.AggregateWindows(minutes, "activity", stream.JSON[Activity](),
		func() Activity { return Activity{} }, addPayment, stream.EmitOnClose())
	alerts := activity.ToStream().Filter(tooMuch, stream.Named("too-much"))
	stream.Map(alerts, newAlert, stream.Named("alert")).Values(stream.JSON[Alert]()).To(alertsTopic)
	return t
}

func withAccount(p Payment, a Account, ok bool) Enriched {
	e := Enriched{Payment: p}
	if ok {
		e.Account = &a
	}
	return e
}

func merchantOf(_ string, e Enriched) (string, bool) {
	return e.Payment.Merchant, e.Payment.Merchant != ""
}

func withMerchant(e Enriched, m Merchant, ok bool) Enriched {
	if ok {
		e.Merchant = &m
	}
	return e
}

// score stands for the call of a model, which is cheaper for many payments than for each: it gives each payment of a
// batch its score, or says why it has none.
func score(_ context.Context, b *stream.Batch[string, Enriched, Enriched]) error {
	for i := range b.In {
		e := b.In[i].Value
		switch {
		case e.Account == nil:
			b.Out[i].Err = &stream.Rejection{Stage: "score", Class: "unknown_card", Field: "card", Reason: "the card has no account"}
			continue
		case e.Amount <= 0:
			b.Out[i].Err = &stream.Rejection{Stage: "score", Class: "bad_amount", Field: "amount", Reason: "the amount is not positive"}
			continue
		}
		e.Score = min(1, e.Amount/(4*e.Account.Limit))
		if e.Merchant == nil || e.Merchant.Country != e.Account.Country {
			e.Score = min(1, e.Score+0.2)
		}
		if e.Merchant != nil {
			e.Score = min(1, e.Score+float64(e.Merchant.Risk)/20)
		}
		b.Out[i].Value = e
	}
	return nil
}

func addPayment(_ string, e Enriched, a Activity) Activity {
	a.Payments++
	a.Total += e.Amount
	a.Limit = e.Account.Limit
	a.Highest = max(a.Highest, e.Score)
	return a
}

const manyPayments = 5

func tooMuch(_ stream.Windowed[string], a Activity) bool {
	return a.Payments > manyPayments || a.Total > a.Limit
}

func newAlert(w stream.Windowed[string], a Activity) (string, Alert) {
	return w.Key, Alert{From: time.UnixMilli(w.Start).UTC(), Activity: a}
}
