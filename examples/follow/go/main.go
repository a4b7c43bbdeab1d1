// Prints records from the oldest on, over a WebSocket with coder/websocket, or as events with r3labs/sse:
//
//	go run . [ws://127.0.0.1:8080/pubsub [TOPIC]]
//	go run . http://127.0.0.1:8080/kafka/topics/demo/events?from=earliest
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	url, topic := "ws://127.0.0.1:8080/pubsub", "demo"
	if len(os.Args) > 1 {
		url = os.Args[1]
	}
	if len(os.Args) > 2 {
		topic = os.Args[2]
	}
	last, position := "", Position{Next: map[string]int64{}}
	for {
		follow := func() error { return followSocket(context.Background(), url, topic, &position) }
		if strings.HasPrefix(url, "http") {
			follow = func() error { return followEvents(context.Background(), url, &last) }
		}
		err := follow()
		fmt.Fprintln(os.Stderr, "again:", err)
		if errors.Is(err, errOver) {
			os.Exit(1)
		}
		time.Sleep(time.Second)
	}
}
