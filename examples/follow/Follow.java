import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/** Prints records from the oldest on, with Java's own WebSocket and Jackson: {@code java -cp 'JACKSON/*' Follow.java [URL] [TOPIC]}. */
public class Follow {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Where the subscription continues. Keep both to continue after a restart. */
    private final ObjectNode next = JsonNodeFactory.instance.objectNode();
    private String topicId;

    public static void main(String[] args) throws InterruptedException {
        String url = args.length > 0 ? args[0] : "ws://127.0.0.1:8080/pubsub";
        String topic = args.length > 1 ? args[1] : "demo";
        Follow follow = new Follow();
        HttpClient client = HttpClient.newHttpClient();
        // It never reconnects by itself.
        while (true) {
            Session session = follow.new Session();
            try {
                WebSocket socket =
                        client.newWebSocketBuilder().subprotocols("sluicegate.v1.json").buildAsync(URI.create(url), session).join();
                socket.sendText(follow.subscribe(topic), true).join();
                System.err.println("again: " + session.ended.join());
                socket.abort();
            } catch (RuntimeException problem) {
                System.err.println("again: " + problem);
            }
            Thread.sleep(1000);
        }
    }

    private String subscribe(String topic) {
        ObjectNode message = JsonNodeFactory.instance.objectNode().put("id", 1);
        message.putObject("subscribe").put("topic", topic).put("from", "earliest").put("topic_id", topicId).set("next", next);
        return message.toString();
    }

    private void answered(JsonNode answer) {
        for (JsonNode subscribed : answer.path("subscribed")) {
            topicId = subscribed.path("topic_id").asText(null);
            subscribed.path("partitions").properties().forEach(at -> next.putIfAbsent(at.getKey(), at.getValue()));
        }
        for (JsonNode record : answer.path("messages")) {
            System.out.println(record.get("partition") + " " + record.get("offset") + " " + record.get("value"));
        }
        answer.path("next").properties().forEach(at -> next.set(at.getKey(), at.getValue()));
        JsonNode error = answer.path("error");
        if (error.isObject() && !error.path("retriable").asBoolean()) {
            System.err.println(error.path("message").asText());
            System.exit(1);
        } else if (error.isObject()) {
            throw new IllegalStateException(error.path("message").asText());
        }
    }

    private class Session implements WebSocket.Listener {
        final CompletableFuture<String> ended = new CompletableFuture<>();
        // A message comes in parts, of any size: the library has no limit.
        private final StringBuilder text = new StringBuilder();

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean isLast) {
            text.append(part);
            if (isLast) {
                try {
                    answered(JSON.readTree(text.toString()));
                } catch (Exception problem) {
                    ended.complete(problem.toString());
                }
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            ended.complete("closed with " + code + " " + reason);
            return null;
        }

        @Override
        public void onError(WebSocket socket, Throwable problem) {
            ended.complete(problem.toString());
        }
    }
}
