package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/r3labs/sse/v2"
	"gopkg.in/cenkalti/backoff.v1"
)

// Follows a stream of events until it ends or the connection is lost. The last id is kept here: the library takes an
// id before the program has the event.
func followEvents(ctx context.Context, url string, last *string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// It ends the stream above 64 KiB an event, unless this says otherwise. So does the bridge: see the query.
	client := sse.NewClient(url+"&max_event_bytes=65535", sse.ClientMaxBufferSize(64<<10))
	if *last != "" {
		client.Headers["Last-Event-ID"] = *last
	}
	// The loop around this function reconnects, also after a clean end, where the library does not.
	client.ReconnectStrategy = &backoff.StopBackOff{}
	client.ResponseValidator = func(_ *sse.Client, response *http.Response) error {
		switch status := response.StatusCode; {
		case status == http.StatusOK:
			return nil
		case status == http.StatusNoContent, status >= 400 && status < 500 && status != http.StatusTooManyRequests:
			return fmt.Errorf("%w: %s", errOver, response.Status)
		default:
			return errors.New(response.Status)
		}
	}
	return client.SubscribeRawWithContext(ctx, func(event *sse.Event) {
		var record Record
		switch string(event.Event) {
		case "":
			// The library hands over the part of an event that a lost connection leaves.
			if json.Unmarshal(event.Data, &record) != nil {
				cancel()
				return
			}
			fmt.Println(record.Partition, record.Offset, string(record.Value))
		case "error", "too-large":
			fmt.Println(string(event.Data))
		}
		*last = string(event.ID)
	})
}
