package dev.millrace.bench;

import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.KTable;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.TableJoined;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.kstream.WindowedSerdes;

/**
 * Runs one of the topologies of bench/streams until it gets a SIGTERM, and then closes in order: what was processed is committed.
 *
 * <p>Arguments: the topology (map, join, count, tumbling, sessions, tables or foreign-key), the topics of the stream,
 * the table and the output, marks, and settings of Kafka Streams as name=value. Marks are numbers of records with commas
 * between them, ascending: when so many records of the stream have been taken in, of both topics in "tables", a line
 * "mark N" goes to standard output.
 */
public final class Peer {
    private static final Serde<String> TEXT = Serdes.String();
    private static final Duration WINDOW = Duration.ofMinutes(1);
    private static final Duration GRACE = Duration.ofSeconds(30);
    private static final Duration GAP = Duration.ofSeconds(10);

    public static void main(String[] args) {
        Properties settings = new Properties();
        for (String setting : Arrays.copyOfRange(args, 5, args.length)) {
            int at = setting.indexOf('=');
            settings.setProperty(setting.substring(0, at), setting.substring(at + 1));
        }
        long[] marks = Arrays.stream(args[4].split(",")).mapToLong(Long::parseLong).toArray();

        StreamsBuilder builder = new StreamsBuilder();
        define(builder, args[0], args[1], args[2], args[3], marks);
        KafkaStreams streams = new KafkaStreams(builder.build(settings), settings);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static void define(StreamsBuilder builder, String topology, String source, String table, String sink, long[] marks) {
        AtomicLong count = new AtomicLong();
        Runnable taken = () -> {
            long n = count.incrementAndGet();
            for (long mark : marks) {
                if (n == mark) {
                    System.out.println("mark " + n);
                }
            }
        };
        switch (topology) {
            case "map" -> stream(builder, source, taken).mapValues(value -> value + ";mapped").to(sink, Produced.with(TEXT, TEXT));
            case "join" -> stream(builder, source, taken)
                .join(builder.table(table, Consumed.with(TEXT, TEXT)), (left, right) -> left + ";" + right, Joined.with(TEXT, TEXT, TEXT))
                .to(sink, Produced.with(TEXT, TEXT));
            case "count" -> stream(builder, source, taken)
                .groupByKey(Grouped.with(TEXT, TEXT))
                .count(Materialized.as("counts"))
                .toStream()
                .to(sink, Produced.with(TEXT, Serdes.Long()));
            case "tumbling" -> stream(builder, source, taken)
                .groupByKey(Grouped.with(TEXT, TEXT))
                .windowedBy(TimeWindows.ofSizeAndGrace(WINDOW, GRACE))
                .count(Materialized.as("counts"))
                .toStream()
                .to(sink, Produced.with(WindowedSerdes.timeWindowedSerdeFrom(String.class, WINDOW.toMillis()), Serdes.Long()));
            case "sessions" -> stream(builder, source, taken)
                .groupByKey(Grouped.with(TEXT, TEXT))
                .windowedBy(SessionWindows.ofInactivityGapAndGrace(GAP, GRACE))
                .count(Materialized.as("counts"))
                .toStream()
                .to(sink, Produced.with(WindowedSerdes.sessionWindowedSerdeFrom(String.class), Serdes.Long()));
            case "tables" -> table(builder, "left", source, taken)
                .join(table(builder, "right", table, taken), (left, right) -> left + ";" + right)
                .toStream()
                .to(sink, Produced.with(TEXT, TEXT));
            case "foreign-key" -> table(builder, "orders", source, taken)
                .join(
                    table(builder, "customers", table, taken),
                    order -> order.substring(11, 21),
                    (order, customer) -> order + ";" + customer,
                    TableJoined.as("join"))
                .toStream()
                .to(sink, Produced.with(TEXT, TEXT));
            default -> throw new IllegalArgumentException("no such topology: " + topology);
        }
    }

    private static KStream<String, String> stream(StreamsBuilder builder, String topic, Runnable taken) {
        return builder.stream(topic, Consumed.with(TEXT, TEXT)).peek((key, value) -> taken.run());
    }

    /** A table whose topic is its changelog, which a table made of a stream would not have. Records are counted where their times are read. */
    private static KTable<String, String> table(StreamsBuilder builder, String name, String topic, Runnable taken) {
        Consumed<String, String> consumed = Consumed.with(TEXT, TEXT).withTimestampExtractor((record, newest) -> {
            taken.run();
            return record.timestamp();
        });
        return builder.table(topic, consumed, Materialized.as(name));
    }

    private Peer() {}
}
