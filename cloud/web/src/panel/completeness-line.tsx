import { useTexts } from '../i18n/use-text';
import { useTrack } from '../track/load';
import { Icon } from '../ui/icon';

/** Whether every fix of the period arrived, as the ledger of the server has it. */
export function CompletenessLine() {
  const { t, f } = useTexts();
  const completeness = useTrack((state) => state.completeness);
  const failed = useTrack((state) => state.completenessReason);
  if (failed !== null) return <p className="completeness quiet">{t('complete.failed', { reason: failed })}</p>;
  if (!completeness) return null;
  const { received, missing, lost, complete } = completeness;
  if (received + missing + lost === 0) return <p className="completeness quiet">{t('complete.none')}</p>;
  if (complete && lost === 0) {
    return (
      <p className="completeness completeness-yes"><Icon name="check" size={16} />{t('complete.yes', { n: f.integer(received) }, received)}</p>
    );
  }
  const parts = [t('complete.received', { n: f.integer(received) })];
  if (missing > 0) parts.push(t('complete.missing', { n: f.integer(missing) }, missing));
  if (lost > 0) parts.push(t('complete.lost', { n: f.integer(lost) }));
  return <p className="completeness completeness-no"><Icon name="warning" size={16} />{parts.join(', ')}</p>;
}
