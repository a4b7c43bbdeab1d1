package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// Position is where a subscription continues. Keep it to continue after a restart.
type Position struct {
	Next    map[string]int64 `json:"next"`
	TopicID *string          `json:"topic_id"`
}

// Answer has the members that matter here.
type Answer struct {
	Error      *Problem         `json:"error"`
	Messages   []Record         `json:"messages"`
	Next       map[string]int64 `json:"next"`
	Subscribed []struct {
		Partitions map[string]int64 `json:"partitions"`
		TopicID    string           `json:"topic_id"`
	} `json:"subscribed"`
}

// Problem is an error of a command, or of one record.
type Problem struct {
	Message   string `json:"message"`
	Retriable bool   `json:"retriable"`
}

// Record is a record, or the error in its place.
type Record struct {
	Partition int32           `json:"partition"`
	Offset    int64           `json:"offset"`
	Value     json.RawMessage `json:"value"`
	Error     *Problem        `json:"error"`
}

// The library closes the connection above 32 KiB, unless SetReadLimit says otherwise. The bridge keeps to it, too.
const maxMessageBytes = 32 << 10

var errOver = errors.New("the subscription has ended for good")

// Follows a topic until the connection is lost.
func followSocket(ctx context.Context, url, topic string, position *Position) error {
	socket, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"sluicegate.v1.json"}})
	if err != nil {
		return err
	}
	defer socket.CloseNow()
	socket.SetReadLimit(maxMessageBytes)
	session := map[string]any{"id": 1, "session": map[string]any{"max_message_bytes": maxMessageBytes}}
	if err := wsjson.Write(ctx, socket, session); err != nil {
		return err
	}
	subscribe := map[string]any{"topic": topic, "from": "earliest", "next": position.Next, "topic_id": position.TopicID}
	if err := wsjson.Write(ctx, socket, map[string]any{"id": 2, "subscribe": subscribe}); err != nil {
		return err
	}
	for {
		var answer Answer
		if err := wsjson.Read(ctx, socket, &answer); err != nil {
			return err
		}
		for _, topic := range answer.Subscribed {
			// What is known already is newer.
			maps.Copy(topic.Partitions, position.Next)
			position.Next, position.TopicID = topic.Partitions, &topic.TopicID
		}
		for _, record := range answer.Messages {
			value := string(record.Value)
			if record.Error != nil {
				value = record.Error.Message
			}
			fmt.Println(record.Partition, record.Offset, value)
		}
		maps.Copy(position.Next, answer.Next)
		if problem := answer.Error; problem != nil && !problem.Retriable {
			return fmt.Errorf("%w: %s", errOver, problem.Message)
		} else if problem != nil {
			return errors.New(problem.Message)
		}
	}
}
