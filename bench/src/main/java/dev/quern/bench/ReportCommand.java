package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code quern-bench report}: see its description. */
@Command(
    name = "report",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Tables and charts of the record, as Markdown. Nothing is measured.",
      "",
      "Of lines that measure the same on the same machine (triple, processor, cores) the newest"
          + " counts, over the whole of a corpus: a trial over a part of it (--mb) replaces nothing."
          + " Ratios are those of one run.",
      "",
      "--write puts the record into the checkout: all of it into bench/report (a page and its"
          + " charts), and into README.md what stands there between the markers"
          + " <!--BEGIN:RECORD[name]--> and <!--END:RECORD[name]-->; names are kernel, allocator,"
          + " seam, pipeline and triples. README.md shows the machine with the most tokenizers and"
          + " corpora measured, of several the newest. A test fails when either is not what the record says: run it after"
          + " every --record.",
      "",
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern-bench report",
      "  quern-bench report --triple aarch64-apple-darwin --charts charts",
      "  quern-bench report --write",
    })
final class ReportCommand implements Callable<Integer> {
  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  @Option(
      names = "--from",
      paramLabel = "FOLDER",
      description = "The record's folder. Default: bench/record of the checkout.")
  Path from;

  @Option(
      names = "--triple",
      paramLabel = "TRIPLE",
      description = "Only what was measured on that platform. Default: all there are.")
  String triple;

  @Option(
      names = "--charts",
      paramLabel = "FOLDER",
      description = "Draw the charts into that folder. Default: only with --write.")
  Path charts;

  @Option(
      names = "--write",
      description = "Write bench/report and the README's figures. Default: only print.")
  boolean write;

  @Override
  public Integer call() throws IOException {
    PrintWriter out = spec.commandLine().getOut();
    if (write && (triple != null || from != null)) {
      throw new BenchException(
          BenchException.USAGE,
          "--write writes what the checkout's whole record says: leave --triple and --from out");
    }
    Path root = RecordOptions.root();
    Path record = Objects.requireNonNullElse(from, root.resolve("bench").resolve("record"));
    List<RecordLine> lines = Report.read(record);
    if (triple != null) {
      List<String> known = lines.stream().map(line -> line.text("triple")).distinct().toList();
      lines = lines.stream().filter(line -> line.text("triple").equals(triple)).toList();
      if (lines.isEmpty()) {
        throw new BenchException(
            BenchException.USAGE,
            "--triple " + triple + ": nothing was recorded there, only on " + Markdown.list(known));
      }
    }
    Report report = new Report(lines);
    if (write) {
      Path readme = root.resolve("README.md");
      if (!Files.exists(readme)) {
        throw new BenchException(
            BenchException.INPUT,
            readme + " is not there: start bench/bin/quern-bench in the checkout");
      }
      String filled = Report.fill(Files.readString(readme), report.sections());
      Path folder = Files.createDirectories(root.resolve("bench").resolve("report"));
      draw(report, folder, out);
      say(out, Files.writeString(folder.resolve("README.md"), report.page()));
      say(out, Files.writeString(readme, filled));
    } else {
      out.print(report.page());
      out.flush();
    }
    if (charts != null) {
      draw(report, Files.createDirectories(charts), out);
    }
    return 0;
  }

  private static void draw(Report report, Path folder, PrintWriter out) throws IOException {
    for (ReportChart chart : report.charts()) {
      Path file = folder.resolve(chart.file());
      // Another machine's fonts would change a picture that shows the same.
      if (!Files.exists(file)
          || !ReportChart.hashOf(Files.readAllBytes(file)).equals(Optional.of(chart.hash()))) {
        say(out, Files.write(file, chart.png()));
      }
    }
  }

  private static void say(PrintWriter out, Path file) {
    out.println("written: " + file);
    out.flush();
  }
}
