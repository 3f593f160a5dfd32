package dev.quern.job;

import dev.quern.job.UiListener.ExecutorView;
import jakarta.servlet.http.HttpServletRequest;
import java.lang.reflect.Method;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.apache.spark.SparkContext;
import org.apache.spark.ui.SparkUI;
import org.apache.spark.ui.SparkUITab;
import org.apache.spark.ui.UIUtils;
import org.apache.spark.ui.WebUIPage;
import org.apache.spark.util.kvstore.KVStore;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Function0;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;
import scala.xml.Node;
import scala.xml.Unparsed;
import scala.xml.Utility;

/**
 * The Quern tab of Spark's UI, at {@code /quern/}: executors, their memory against their
 * throughput, and the runs of the job; of an application that runs, or in the history server of one
 * that ran.
 */
final class QuernTab extends SparkUITab {

  private static final Logger LOG = LoggerFactory.getLogger(QuernTab.class);
  private static final int REFRESH_SECONDS = 5;

  QuernTab(SparkUI ui) {
    super(ui, "quern");
    attachPage(new Page(this, ui.store().store(), ui.sc().isDefined(), frame()));
  }

  /** Adds the tab to an application that starts; without a UI there is nothing to do. */
  static void attach(SparkContext context) {
    if (context.ui().isEmpty()) {
      return;
    }
    try {
      QuernTab tab = new QuernTab(context.ui().get());
      context.addSparkListener(UiListener.live(context));
      context.ui().get().attachTab(tab);
    } catch (Exception | LinkageError e) {
      // Spark's UI is none of its public interfaces: a later version may have another.
      LOG.warn("Spark {} can't show the Quern tab; the run goes on", context.version(), e);
    }
  }

  /** Spark's frame around a page: Spark 4.2 has a parameter more than 4.0 and 4.1. */
  private static Method frame() {
    return Arrays.stream(UIUtils.class.getMethods())
        .filter(method -> method.getName().equals("headerSparkPage"))
        .filter(
            method ->
                Arrays.equals(
                    Arrays.copyOf(method.getParameterTypes(), 5),
                    new Class<?>[] {
                      HttpServletRequest.class,
                      String.class,
                      Function0.class,
                      SparkUITab.class,
                      Option.class
                    }))
        .filter(
            method ->
                Arrays.stream(method.getParameterTypes()).skip(5).allMatch(boolean.class::equals))
        .findFirst()
        .orElseThrow(() -> new IllegalStateException("UIUtils.headerSparkPage is another one"));
  }

  private static final class Page extends WebUIPage {
    private final QuernTab tab;
    private final KVStore store;
    private final boolean live;
    private final Method frame;

    Page(QuernTab tab, KVStore store, boolean live, Method frame) {
      super("");
      this.tab = tab;
      this.store = store;
      this.live = live;
      this.frame = frame;
    }

    @Override
    public Seq<Node> render(HttpServletRequest request) {
      String html =
          new PageText(
                  UiListener.stored(store, ExecutorView.class),
                  UiListener.stored(store, RunEvent.class),
                  live,
                  "off".equals(request.getParameter("refresh")),
                  request.getParameter("executor"))
              .html();
      Function0<Seq<Node>> content =
          () -> CollectionConverters.asScala(List.<Node>of(new Unparsed(html))).toList();
      Object[] arguments = new Object[frame.getParameterCount()];
      Arrays.fill(arguments, false);
      arguments[0] = request;
      arguments[1] = "Quern: memory and throughput";
      arguments[2] = content;
      arguments[3] = tab;
      arguments[4] = Option.empty();
      try {
        @SuppressWarnings("unchecked")
        Seq<Node> page = (Seq<Node>) frame.invoke(null, arguments);
        return page;
      } catch (ReflectiveOperationException e) {
        throw new IllegalStateException("Spark's UI can't show the page", e);
      }
    }
  }

  /** The page as HTML. Whatever comes from outside goes through {@link #text}. */
  private static final class PageText {
    private static final String TABLE =
        "<table class=\"table table-bordered table-striped table-sm sortable\" id=\"%s\"><thead><tr>";

    private final StringBuilder html = new StringBuilder();
    private final Optional<ExecutorView> all;
    private final List<ExecutorView> executors;
    private final List<RunEvent> runs;
    private final boolean live;
    private final boolean still;
    private final Optional<ExecutorView> chosen;

    PageText(
        List<ExecutorView> views,
        List<RunEvent> runs,
        boolean live,
        boolean still,
        String executor) {
      this.all = views.stream().filter(ExecutorView::isAll).findFirst();
      // Id 2 before 10; what has ended last.
      this.executors =
          views.stream()
              .filter(view -> !view.isAll())
              .sorted(
                  Comparator.comparing(ExecutorView::ended)
                      .thenComparing(view -> view.latest().executor().id().length())
                      .thenComparing(view -> view.latest().executor().id()))
              .toList();
      this.runs = runs.stream().sorted(Comparator.comparing(RunEvent::startMillis)).toList();
      this.live = live;
      this.still = still;
      this.chosen =
          executors.stream()
              .filter(view -> view.latest().executor().id().equals(executor))
              .findFirst();
    }

    String html() {
      if (live && !still) {
        html.append(
            RunSummary.format("<meta http-equiv=\"refresh\" content=\"%d\"/>", REFRESH_SECONDS));
      }
      if (all.isEmpty()) {
        html.append("<p>No executor has sent a sample yet.</p>");
        return html.toString();
      }
      head(all.get());
      chart(chosen.orElse(all.get()));
      executors();
      if (!runs.isEmpty()) {
        runs();
      }
      return html.toString();
    }

    private void head(ExecutorView sum) {
      ExecutorSample.Work work = sum.latest().work();
      long ended = executors.stream().filter(ExecutorView::ended).count();
      html.append("<ul class=\"list-unstyled\">");
      // With the application, all have ended.
      item(
          "Executors",
          live
              ? executors.size() - ended + " active" + (ended == 0 ? "" : ", " + ended + " ended")
              : String.valueOf(executors.size()));
      item(
          "Tokenized",
          RunSummary.format(
              "%,d documents, %s of text, %,d tokens",
              work.documents(), RunSummary.size(work.bytes()), work.tokens()));
      if (live) {
        item(
            "Now",
            RunSummary.format(
                "%s MB/s, %,.0f tokens/s, RSS %s",
                RunSummary.decimals(sum.bytesPerSecond() / 1e6),
                sum.tokensPerSecond(),
                RunSummary.size(sum.latest().memory().resident())));
      }
      item(
          "Peak RSS of the largest executor",
          RunSummary.size(
              executors.stream()
                  .mapToLong(view -> view.latest().memory().residentPeak())
                  .max()
                  .orElse(0)));
      html.append("</ul>");
      if (live) {
        html.append(
            still
                ? "<p><a href=\"" + link("") + "\">Refresh every " + REFRESH_SECONDS + " s</a></p>"
                : "<p>Refreshed every "
                    + REFRESH_SECONDS
                    + " s. <a href=\""
                    + link("refresh=off")
                    + "\">Stop</a></p>");
      }
    }

    /** This page, of the same executor. */
    private String link(String parameter) {
      return "?"
          + chosen.map(view -> executor(view) + (parameter.isEmpty() ? "" : "&amp;")).orElse("")
          + parameter;
    }

    private static String executor(ExecutorView view) {
      return "executor=" + text(view.latest().executor().id());
    }

    private void item(String name, String value) {
      html.append("<li><strong>").append(name).append(":</strong> ").append(value).append("</li>");
    }

    private void chart(ExecutorView view) {
      String of =
          chosen.isPresent()
              ? "executor " + text(view.latest().executor().id())
              : executors.size() == 1 ? "the executor" : "all executors together";
      html.append("<h4>Resident memory against throughput, ").append(of);
      if (chosen.isPresent()) {
        html.append(" <small><a href=\"?")
            .append(still ? "refresh=off" : "")
            .append("\">show all</a></small>");
      }
      html.append("</h4>");
      if (view.samples().size() < 2) {
        html.append("<p>There is one sample so far; the chart needs two.</p>");
      } else {
        html.append(UiChart.svg("Resident memory and throughput over time", view.samples()));
      }
    }

    private void column(String name, String explanation) {
      html.append("<th title=\"").append(explanation).append("\">").append(name).append("</th>");
    }

    private void cell(String value) {
      html.append("<td>").append(value == null ? "" : text(value)).append("</td>");
    }

    /** A number as it is to be read, sorted by its value. */
    private void cell(double value, String shown) {
      html.append(
          RunSummary.format(
              "<td class=\"text-end\" sorttable_customkey=\"%.3f\">%s</td>", value, shown));
    }

    private void count(long value) {
      cell(value, RunSummary.format("%,d", value));
    }

    private void size(long bytes) {
      cell(bytes, RunSummary.size(bytes));
    }

    private void speeds(double bytesPerSecond, double tokensPerSecond) {
      cell(bytesPerSecond, RunSummary.decimals(bytesPerSecond / 1e6));
      cell(tokensPerSecond, RunSummary.format("%,.0f", tokensPerSecond));
    }

    private void executors() {
      html.append("<h4>Executors</h4>").append(RunSummary.format(TABLE, "quern-executors"));
      column("Executor", "Spark's id; a click shows its chart");
      column("Host", "");
      if (live) {
        column("State", "");
      }
      column("Cores", "task slots");
      column("Documents", "given to the tokenizer since the executor started, retries included");
      column("Text", "UTF-8 text of these documents");
      column("Tokens", "of these documents");
      if (live) {
        column("MB/s now", "over the last seconds, at least 10");
        column("Tokens/s now", "over the last seconds, at least 10");
      }
      column("MB/s", "text over the time in which the executor tokenized");
      column("Tokens/s", "tokens over the time in which the executor tokenized");
      column("RSS", "resident memory at the latest sample");
      column("Peak RSS", "the highest resident memory since the executor started");
      column("Limit", "memory limit of the container, where there is one");
      column("Allocator", "of the native library");
      column("Engine", "engines of the tokenizers that the executor has loaded");
      html.append("</tr></thead><tbody>");
      for (ExecutorView view : executors) {
        ExecutorSample latest = view.latest();
        ExecutorSample.Work work = latest.work();
        html.append("<tr><td><a href=\"?")
            .append(executor(view))
            .append(still ? "&amp;refresh=off" : "")
            .append("\">")
            .append(text(latest.executor().id()))
            .append("</a></td>");
        cell(latest.executor().host());
        if (live) {
          cell(view.ended() ? "ended" : "active");
        }
        count(view.cores());
        count(work.documents());
        size(work.bytes());
        count(work.tokens());
        if (live) {
          speeds(view.bytesPerSecond(), view.tokensPerSecond());
        }
        double seconds = view.busyMillis() / 1e3;
        speeds(
            seconds == 0 ? 0 : work.bytes() / seconds, seconds == 0 ? 0 : work.tokens() / seconds);
        size(latest.memory().resident());
        size(latest.memory().residentPeak());
        Long limit = latest.memory().cgroupLimit();
        cell(limit == null ? 0 : limit, limit == null ? "" : RunSummary.size(limit));
        cell(work.allocator());
        cell(work.engines());
        html.append("</tr>");
      }
      html.append("</tbody></table>");
    }

    private void runs() {
      html.append("<h4>Runs of the job</h4>").append(RunSummary.format(TABLE, "quern-runs"));
      column("Started", "UTC");
      column("State", "");
      column("Tokenizer", "");
      column("Engine", "as the driver chose it");
      column("Output", "");
      column("Documents", "read; of the task attempts that Spark committed");
      column("Set aside", "documents in quarantine");
      column("Text", "of the documents written");
      column("Tokens", "written");
      column("Duration", "of the work, without the start of Spark");
      column("MB/s", "text over the duration");
      column("Tokens/s", "tokens over the duration");
      column("Peak RSS", "of the largest executor, during the run");
      html.append("</tr></thead><tbody>");
      for (RunEvent run : runs) {
        html.append("<tr>");
        cell(
            Instant.ofEpochMilli(run.startMillis())
                .truncatedTo(ChronoUnit.SECONDS)
                .toString()
                .replace('T', ' ')
                .replace("Z", ""));
        cell(run.state().name().toLowerCase(Locale.ROOT));
        cell(run.tokenizer());
        html.append("<td title=\"").append(text(run.engineReason())).append("\">");
        html.append(text(run.engine())).append("</td>");
        cell(run.output());
        if (run.state() == RunEvent.State.FINISHED) {
          count(run.documents());
          count(run.quarantined());
          size(run.bytes());
          count(run.tokens());
          cell(run.seconds(), RunSummary.duration(run.seconds()));
          speeds(run.bytes() / run.seconds(), run.tokens() / run.seconds());
          size(run.residentPeak());
        } else {
          html.append("<td></td>".repeat(8));
        }
        html.append("</tr>");
      }
      html.append("</tbody></table>");
    }

    private static String text(String value) {
      // Utility.escape leaves single quotes alone; all attributes here are in double ones.
      return value == null ? "" : Utility.escape(value);
    }
  }
}
