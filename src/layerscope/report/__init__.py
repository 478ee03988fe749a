"""One offline HTML file that says what a run found."""

from layerscope.report.page import write_report as write_report
