import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;

/** Java's own client as it comes: it asks for HTTP/2 by an upgrade (h2c). `java Ask URL KEY BODY...` */
public class Ask {
    public static void main(String[] words) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 2; i < words.length; i++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(words[0] + "/chat/completions"))
                .header("Content-Type", "application/json")
                .header("Authorization", "Bearer " + words[1])
                .POST(HttpRequest.BodyPublishers.ofString(words[i], StandardCharsets.UTF_8))
                .build();
            HttpResponse<String> response = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body().replace("\n", " "));
        }
    }
}
